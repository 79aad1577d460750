"""Rules that join several keys of a stack file, one function each.

The models do not import them, and no cloud is asked.
"""
