"""Which hosts a task is about: targets, inventories, and work on several hosts at once.

Opens no connection of its own.
"""
