"""What the published VITON-HD network definitions give for weights and inputs made from names alone."""
