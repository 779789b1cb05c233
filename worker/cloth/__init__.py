"""What is done to a garment's photograph: its mask, its place on the canvas, its landmarks."""
