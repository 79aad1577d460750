"""Hosts brought to their desired state: provision, reboots, and why an engine does not start.

Roles decide what that state is.
"""
