"""Benchmarks of the VITON-HD cascade."""
