"""Machines on this Linux host: systemd-nspawn containers with their own network, limits and SSH server.

`cloud.py` has what the rest of the repository uses; `machine.py` works without Pulumi.
"""
