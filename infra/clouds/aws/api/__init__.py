"""Calls to AWS and what every part of this folder needs for them: client, account, tags, permissions, hints.

Creates nothing.
"""
