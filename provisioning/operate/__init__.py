"""Day-to-day work on provisioned hosts: status, logs, restart, upgrade, smoke, shell.

Does not change the desired state.
"""
