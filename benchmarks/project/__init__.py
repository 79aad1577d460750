"""Speed goals of this repository itself: converge, preview, up and down.

Benchmarks of served models live beside it.
"""
