"""VITON-HD (Choi et al. 2021, arXiv 2103.16874): networks, weight-compatible with the published files."""
