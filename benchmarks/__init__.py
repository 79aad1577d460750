"""Measurements of this repository's own commands. A deployment does not need this package."""
