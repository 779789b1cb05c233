"""The geometric engine: warps a garment onto a person by thin-plate splines."""
