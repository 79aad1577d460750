"""Calls to AWS and what all of them need: client, account, tags, permissions, hints.

Creates nothing.
"""
