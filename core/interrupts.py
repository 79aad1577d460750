"""While Python loads modules, and after a command has ended, Ctrl-C and SIGTERM print one line on stderr and exit.

While the command runs, it can clean up, and `core.errors.run_cli` prints the line. Only a program's entry point may use
this module: a signal handler applies to the whole process.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143
WORDS = {
    signal.SIGINT: "interrupted; run the same command again",
    signal.SIGTERM: "stopped by SIGTERM; run the same command again",
}
STATUS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class Terminated(KeyboardInterrupt):
    """SIGTERM: a command cleans up as it does after Ctrl-C."""


def leave_when_interrupted() -> None:
    """Make Ctrl-C and SIGTERM end the process at once.

    An ignored signal stays ignored: a shell ignores SIGINT for background jobs.
    """
    for number in STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt and SIGTERM raise Terminated in the block. Outside it, they exit."""
    within = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    taken = [number for number in within if signal.getsignal(number) is _leave]
    for number in taken:
        signal.signal(number, within[number])
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, _leave)


def words_of(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """Return the message about an interrupt, and the exit status."""
    number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
    return WORDS[number], STATUS[number]


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _leave(number: int, _frame: FrameType | None) -> None:
    """Exit without a traceback. Modules that are still loading have changed nothing, so nothing needs cleanup."""
    signalled = signal.Signals(number)
    os.write(2, f"\nerror: {WORDS[signalled]}\n".encode())
    os._exit(STATUS[signalled])
