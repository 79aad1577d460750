"""Waiting with a limit: for a deadline, for a condition, for another command on this computer.

Starts no processes; what is known of a process is in core/processes.py.
"""
