"""Roles: pure functions from a host and its serving spec to the list of resources that the host should have."""

ROLES = ("base", "engine", "gateway")
"""In the order of a host's list. The gateway is last, so that it opens to clients when the engine answers."""
