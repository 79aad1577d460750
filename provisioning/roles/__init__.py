"""Roles: pure functions from a host and its serving spec to the list of resources that the host should have."""

ROLES = ("base", "engine", "services", "gateway", "monitoring")
"""The words of `--roles`, in the order of a host's list. The gateway opens to clients once the engine answers, so it is
behind the engine; clients do not wait for the monitoring."""
