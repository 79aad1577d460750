"""What is served and how it is queried: spec, engines, endpoint, client, smoke tests.

Opens no SSH connection and calls no cloud.
"""
