"""The program that fetches models and adapters on a host, and its package `llm_fetch`.

The checkout runs it too, for bundles and for the checks of adapters.
"""
