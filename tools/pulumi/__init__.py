"""The Pulumi CLI for this checkout: one that is installed, else the pinned release, else built from Go modules.

Touches no installation of the user's: what is fetched or built here has a home folder of its own in the cache.
"""
