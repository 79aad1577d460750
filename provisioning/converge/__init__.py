"""Converge: a list of wished resources and one agent on the host that makes them so in a single SSH round trip."""
