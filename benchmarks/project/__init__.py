"""Speed goals of this repository's own commands: first line, preview, up, down and converge.

Benchmarks of served models are in other folders of this package.
"""
