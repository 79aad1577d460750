"""Ctrl-C and SIGTERM before a command has begun and after it has ended: one line, while Python still loads modules.

In between `core.errors.run_cli` tells it, where a command may clean up. Only for a program's own entry: a signal's
handler is the whole process's.
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
    signal.SIGTERM: "ended by SIGTERM; run the same command again",
}
STATUS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command in the same order as Ctrl-C does."""


def leave_when_interrupted() -> None:
    """Have Ctrl-C and SIGTERM end the process at once.

    A signal that is ignored stays so, as SIGINT is in a shell's background.
    """
    for number in STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt and SIGTERM Terminated within; before and after they end the process."""
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
    """Return what a person reads of an interrupt, and the exit status."""
    number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
    return WORDS[number], STATUS[number]


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _leave(number: int, _frame: FrameType | None) -> None:
    """End without a word of Python's: what is half imported cannot be asked to clean up, and has changed nothing."""
    signalled = signal.Signals(number)
    os.write(2, f"\nerror: {WORDS[signalled]}\n".encode())
    os._exit(STATUS[signalled])
