"""Machines on AWS: network, firewall, hosts with disks and addresses, a bucket, and their end of life.

`cloud.py` has what the rest of the repository uses.
"""
