"""What is checked before anything is created: `make preflight`, and the kind of stack that a target expects.

The checks themselves are in infra/clouds/, because they differ between clouds.
"""
