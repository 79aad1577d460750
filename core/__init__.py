"""What every package needs: errors, paths, results, console output, secrets, deadlines.

Imports no other package of this project and nothing that loads slowly, so that a command prints its first line early.
"""

import gc
import sys

from core.interrupts import leave_when_interrupted

_RUN_BY_NAME = ("benchmarks", "infra", "provisioning", "serving", "tools")

# By default, Python looks for garbage after every 700 new objects. Modules make hundreds of thousands that all stay.
# Without those passes, a command of fab loads in 0.42 s instead of 0.46 s, and Google's SDK in 1.5 s instead of 1.7 s.
gc.set_threshold(50_000, 20, 20)

# Every program imports this package first, so Ctrl-C ends it with one line while Python loads the other modules.
if sys.orig_argv[1:2] == ["-m"] and "".join(sys.orig_argv[2:3]).partition(".")[0] in _RUN_BY_NAME:
    leave_when_interrupted()
