"""Speed goals of this repository's own commands: first line, preview, up, down, converge and gateway.

There are no benchmarks of served models yet.
"""
