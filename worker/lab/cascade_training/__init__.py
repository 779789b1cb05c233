"""Trains the cascade's three networks, which the paper describes and its authors' code leaves out."""
