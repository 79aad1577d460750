"""The lint of words: it finds refused phrases in the texts that people read.

Does not judge grammar, and does not read code: a variable may have any name.
"""
