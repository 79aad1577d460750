"""What every reader of files owes to people: an answer within two seconds, or one line that says what is wrong."""

import time
from collections.abc import Callable
from typing import Any

from core.errors import DeployError
from core.printable import on_one_line

LONGEST_S = 2.0
"""Of the processor: other tests run beside these."""
LONGEST_LINE = 2000


def judged(read: Callable[[], Any]) -> Any:
    """Return what `read` returns; None when it refused in one printable line. Everything else fails the test."""
    start, value, refusal = time.thread_time(), None, None
    try:
        value = read()
    except DeployError as error:
        refusal = error
    seconds = time.thread_time() - start
    assert seconds < LONGEST_S, f"took {seconds:.1f} s"
    if refusal is not None:
        lines = [str(refusal), *refusal.detail.splitlines()]
        for line in lines:
            assert line == on_one_line(line), f"not one printable line: {line!r}"
            assert len(line) < LONGEST_LINE, line
    return value
