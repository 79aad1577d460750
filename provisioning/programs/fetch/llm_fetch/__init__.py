"""Fetch models and adapters on the host that serves them. Standard library only, Python 3.8: see fetch_model.py."""
