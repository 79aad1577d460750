"""What a cloud has: the kinds of resources, listing each kind, and removing them in rounds.

Calls no cloud itself: each cloud hands in its kinds. Creating resources is in the `program/` of a cloud.
"""
