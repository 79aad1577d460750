"""Ports that more than one step of the way knows."""

SSH_PORT = 22
"""Where hosts let people log in, unless an inventory says otherwise."""
