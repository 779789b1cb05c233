"""The geometric engine: warps a garment onto a person with thin-plate splines."""
