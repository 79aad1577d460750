"""The lint of words: texts that people read, and the phrases that they must not contain.

Does not judge grammar, and does not read code: a variable may have any name.
"""
