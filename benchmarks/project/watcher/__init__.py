"""Whether the watcher takes an engine at its limit for dead: a stack that runs is loaded, and its hosts are watched.

Makes and removes no machine. The gateway's speed is in benchmarks/project/gateway.
"""
