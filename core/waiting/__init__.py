"""Waiting with a limit: for a deadline, for a condition, for another command on this computer.

Starts no processes. core/processes.py finds and identifies them.
"""
