"""Roles: pure functions from a host and what it serves to the list of resources that the host should have."""
