"""Trains and validates the human parser: data set, training runs, validation, conversion of checkpoints."""
