"""Trains the garment network: drawn garments, cut-outs, labelled and class-labelled photographs."""
