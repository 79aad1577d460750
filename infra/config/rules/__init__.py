"""Rules that join several sections of a stack file, one function each.

The models do not import them, and they call no cloud. `infra/config/checks.py` applies them.
"""
