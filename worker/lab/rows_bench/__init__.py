"""Benchmark of the database at a shop's size: every transition, the sweep's queries, the command `status`."""
