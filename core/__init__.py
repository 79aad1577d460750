"""What every step needs and none owns: errors, places on disk, results, words on the screen.

Imports nothing of this project outside `core` and nothing heavy, so that a command's first words come at once.
"""

import sys

from core.interrupts import leave_when_interrupted

_RUN_BY_NAME = ("benchmarks", "infra", "provisioning", "serving", "tools")

# Each of our programs imports this first: Ctrl-C then ends it in one line while the rest is still being loaded.
if sys.orig_argv[1:2] == ["-m"] and "".join(sys.orig_argv[2:3]).partition(".")[0] in _RUN_BY_NAME:
    leave_when_interrupted()
