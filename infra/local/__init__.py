"""Machines on this Linux host: systemd-nspawn containers with their own network, limits and SSH door.

`infra.local.machine` works without Pulumi; nothing here imports it before `deploy` is called.
"""
