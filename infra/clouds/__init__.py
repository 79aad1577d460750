"""What all clouds share: the Protocol each one implements, and parts that they use.

A cloud lives in its own folder below.
"""
