"""Measures every map, and whole try-ons, against ground truth from outside this project."""
