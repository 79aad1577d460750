"""What hosts and clients authenticate with: certificates, API keys, TLS files, tunnel keys.

Opens no connection.
"""
