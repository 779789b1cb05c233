"""Processes the photograph of a garment: its mask, its layout on the canvas, its landmarks."""
