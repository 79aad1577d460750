"""Who may talk to a host and how that is proved: certificates, API keys, TLS files, tunnel keys.

Opens no connection.
"""
