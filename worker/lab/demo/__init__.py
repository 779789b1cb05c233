"""The demonstration's pictures and contact sheets."""
