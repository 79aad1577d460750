"""The former place of infra/clouds/local: only what the state of older stacks still names.

New code does not belong here.
"""
