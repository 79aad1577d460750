"""The commands on a stack: up, down, preflight, preview, orphans, and how a placement is found.

Cloud-specific work is in infra/clouds.
"""
