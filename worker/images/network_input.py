"""How photographs are given to the networks that are trained here."""

MEAN, SPREAD = 127.0, 128.0
"""Levels 0..255 become (level - MEAN) / SPREAD: so the encoder's published weights were trained."""
