"""Ctrl-C before a command has begun and after it has ended: one line and 130, while Python is still loading modules.

In between `core.errors.run_cli` tells it, where a command may clean up. Only for a program's own entry: a signal's
handler is the whole process's.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
WORDS = b"\nerror: interrupted; run the same command again\n"


def leave_when_interrupted() -> None:
    """Have Ctrl-C end the process at once; nothing changes where SIGINT is ignored, as in a shell's background."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt within, where it would end the process at once before and after."""
    if signal.getsignal(signal.SIGINT) is not _leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End without a word of Python's: what is half imported cannot be asked to clean up, and has changed nothing."""
    os.write(2, WORDS)
    os._exit(INTERRUPTED)
