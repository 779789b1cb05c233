"""VITON-HD (Choi et al. 2021, arXiv 2103.16874): networks for the published weights, and their engine."""
