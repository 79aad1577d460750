"""Roles: pure functions from a host and its serving spec to the list of resources that the host should have."""

ROLES = ("base", "engine", "services", "gateway")
"""The words of `--roles`, in the order of a host's list. The gateway is last: it opens to clients once the engine
answers."""
