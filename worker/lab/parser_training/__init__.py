"""Trains and validates the human parser: data set, training, validation, conversion of checkpoints."""
