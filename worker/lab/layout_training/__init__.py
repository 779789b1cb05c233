"""Trains and measures the network that predicts the layout after."""
