"""Which hosts a task is about: targets, inventories, and work on several hosts at once.

look.py and prefetch.py connect to hosts; the other files do not.
"""
