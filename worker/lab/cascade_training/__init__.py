"""Trains the cascade's three networks: the paper describes the training, its authors' code has none."""
