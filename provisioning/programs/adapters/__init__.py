"""Programs for adapters on a host: versions, aliases, stored folders, and the plugin of vLLM that loads them.

Fetching them is in provisioning/programs/fetch.
"""
