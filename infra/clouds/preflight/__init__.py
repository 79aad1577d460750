"""Preflight checks that AWS and GCP share, and how long an engine reads its weights.

The checks of one cloud are in its own `preflight/`; the command is in infra/lifecycle/preflight/.
"""
