"""Evaluation, training, benchmarks and the demonstration: what no job runs."""
