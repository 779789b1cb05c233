"""Everything that touches a picture or runs a stage."""
