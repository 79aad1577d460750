"""Converge: a list of resources, and an agent that brings a host to them in one SSH round trip.

The controller side is here, the host's side in agent/. Roles decide which resources a host needs.
"""
