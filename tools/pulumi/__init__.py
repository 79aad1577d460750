"""The Pulumi CLI for this checkout: an installed one, else the pinned release, else one built from Go modules.

Does not touch the user's installation: a fetched or built CLI has its own home folder in the cache.
"""
