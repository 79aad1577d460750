"""The serving part of a stack file: models and their rules. Knows none of the folders beside it."""
