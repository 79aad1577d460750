"""A moment by which something has to be over, shared by the steps that lead there."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock that only goes forward."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """Return the moment that lies `seconds` ahead."""
        return cls(clock() + seconds, clock)

    def left_s(self, *, reserve_s: float = 0.0) -> float:
        """Return the seconds until then, less those reserved for what comes after; 0 when there are none."""
        return max(0.0, self.at - reserve_s - self.clock())
