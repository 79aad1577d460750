"""Priorities of a stack's firewall rules in its network: lower numbers come first; at equal numbers, deny wins.

A rule without a number has 1000, and those of GCP's `default` network have 65534.
"""

ALLOW, DENY = 900, 910
