"""LoRA adapters as files: the manifest of releases, and whether an adapter can be served.

Opens no connection to a host.
"""
