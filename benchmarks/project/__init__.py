"""Speed goals of this repository's own commands: first line, preview, up, down and converge.

There are no benchmarks of served models yet.
"""
