"""The parts of serving/client.py: settings, retries, and the official SDKs behind one shape.

They import nothing of this repository but each other, so that applications can copy them. docs/clients.md says how.
"""
