"""Roles: pure functions from a host and what it serves to the list of resources that the host should have."""

ROLES = ("base", "engine", "gateway")
"""In the order of a host's list: the gateway comes last, so that it opens to clients when the engine answers."""
