"""What every step needs and none owns: errors, places on disk, results, words on the screen.

Imports nothing of this project outside `core` and nothing heavy, so that a command's first words come at once.
"""
