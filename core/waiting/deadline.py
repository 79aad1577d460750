"""A point in time by which several steps together must be done."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A point in time on a monotonic clock."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """Return the point in time `seconds` from now."""
        return cls(clock() + seconds, clock)

    def left_s(self, *, reserve_s: float = 0.0) -> float:
        """Return the remaining seconds minus `reserve_s`, the seconds that later steps need; never below 0."""
        return max(0.0, self.at - reserve_s - self.clock())
