"""Finds the joints, hands and outline of a person in a photograph."""
