"""Where the rules of a stack stand among those of its network: lower numbers come first, and of two alike the refusal.

A rule without a number has 1000, and those of GCP's `default` network have 65534.
"""

ALLOW, DENY = 900, 910
