"""The only place that runs the Pulumi engine: CLI, stack, locks, events, backend, plugins, SDKs.

Knows no cloud and no order of commands.
"""
