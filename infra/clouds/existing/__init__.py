"""Hosts that exist already, from an inventory file. `cloud.py` has what the rest of the repository uses."""
