"""The place of infra/clouds/local before 0.2.0. Has only what the state of older stacks still names.

New code does not belong here.
"""
