"""Evaluation, training, benchmarks and the demonstration: code that no job runs."""
