"""Waiting for a condition, no longer than a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

from core.errors import DeployError

Found = TypeVar("Found")


def wait_until(
    look: Callable[[], Found | None],
    *,
    deadline_s: float,
    late: Callable[[], DeployError],
    pause_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found:
    """Call `look` until it returns something other than None, and return that. Raise `late()` after `deadline_s`."""
    end = clock() + deadline_s
    while True:
        found = look()
        if found is not None:
            return found
        if clock() >= end:
            raise late()
        sleep(min(pause_s, max(0.0, end - clock())))
