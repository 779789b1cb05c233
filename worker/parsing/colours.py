"""The colour of each CIHP label, without NumPy: the web page shows label maps, too."""

COLOURS = (
    (0, 0, 0),
    (128, 0, 0),
    (254, 0, 0),
    (0, 85, 0),
    (169, 0, 51),
    (254, 85, 0),
    (0, 0, 85),
    (0, 119, 220),
    (85, 85, 0),
    (0, 85, 85),
    (85, 51, 0),
    (52, 86, 128),
    (0, 128, 0),
    (0, 0, 254),
    (51, 169, 220),
    (0, 254, 254),
    (85, 254, 169),
    (169, 254, 85),
    (254, 254, 0),
    (254, 169, 0),
)
"""RGB by label: the palette of the published CIHP and LIP label maps."""
