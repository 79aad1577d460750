"""Measurements of this repository, and of other tools for comparison. A deployment does not need this package."""
