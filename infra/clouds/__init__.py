"""What all clouds share: the Protocol that each one implements, their registry, and code that they use.

Each cloud has its own folder below.
"""
