"""The rule for every reader of files: a result within two seconds, or one line that says what is wrong."""

import time
from collections.abc import Callable
from typing import Any

from core.errors import DeployError
from core.printable import on_one_line

LONGEST_S = 2.0
"""Seconds of CPU time, because other tests run at the same time."""
LONGEST_LINE = 2000


def judged(read: Callable[[], Any]) -> Any:
    """Return the result of `read`; None if it refused with one printable line. Everything else fails the test."""
    value, refusal, seconds = _timed(read)
    if seconds >= LONGEST_S:  # once in some 10,000 readings Python collects garbage in the middle of one
        seconds = _timed(read)[2]
    assert seconds < LONGEST_S, f"took {seconds:.1f} s"
    if refusal is not None:
        lines = [str(refusal), *refusal.detail.splitlines()]
        for line in lines:
            assert line == on_one_line(line), f"not one printable line: {line!r}"
            assert len(line) < LONGEST_LINE, line
    return value


def _timed(read: Callable[[], Any]) -> tuple[Any, DeployError | None, float]:
    """Return the result or refusal of `read`, and its seconds of CPU time."""
    start = time.thread_time()
    try:
        return read(), None, time.thread_time() - start
    except DeployError as error:
        return None, error, time.thread_time() - start
