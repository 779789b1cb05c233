"""Outputs of the published VITON-HD network definitions, for weights and inputs derived from names."""
