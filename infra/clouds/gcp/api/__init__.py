"""Calls to GCP and what all of them need: client, labels, names, error hints.

Creates nothing.
"""
