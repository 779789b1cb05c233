"""Measures each map against ground truth that this project did not draw."""
