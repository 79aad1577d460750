"""Watches the engine of this host, and tells HAProxy whether it may have requests. Standard library only.

Restarts nothing itself: it asks a unit of root's to end an engine that hangs. Is not in the way of any request.
"""
