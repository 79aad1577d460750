"""Waiting ends with a result or at the deadline, and never sleeps past it."""

import pytest

from core.errors import HostError
from core.waiting.condition import wait_until


class Clock:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_returns_the_result() -> None:
    clock = Clock()
    found = wait_until(
        lambda: "here" if clock.now >= 2 else None,
        deadline_s=10,
        late=lambda: HostError("late"),
        clock=lambda: clock.now,
        sleep=clock.sleep,
    )
    assert found == "here"
    assert clock.slept == [1.0, 1.0]


def test_looks_once_more_at_the_deadline_and_raises() -> None:
    clock = Clock()
    looks = []
    with pytest.raises(HostError, match="late"):
        wait_until(
            lambda: looks.append(clock.now),
            deadline_s=2.5,
            late=lambda: HostError("late"),
            clock=lambda: clock.now,
            sleep=clock.sleep,
        )
    assert looks == [0.0, 1.0, 2.0, 2.5]
