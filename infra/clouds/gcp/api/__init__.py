"""Calls to GCP and what every part of this folder needs for them: client, labels, names, error hints.

Creates nothing.
"""
