"""A lock on disk: one process makes a thing, and the others wait until it exists."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.console import say


@contextmanager
def one_at_a_time(lock: Path, meanwhile: str) -> Iterator[None]:
    """Hold the file `lock`, and create its folder first. Print `meanwhile` while another process holds the lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(meanwhile)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
