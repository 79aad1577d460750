"""Smoke tests of an endpoint: the requests, and which answers pass. They need only the endpoint file."""
