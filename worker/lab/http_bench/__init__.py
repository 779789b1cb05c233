"""What clients of the HTTP interface cost the stages."""
