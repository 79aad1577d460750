"""Smoke tests of an endpoint: what is asked, and which answers pass. Needs the endpoint file only."""
