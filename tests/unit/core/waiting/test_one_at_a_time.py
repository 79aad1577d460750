"""One process at a time holds the lock, and a waiting one says so."""

import threading
from pathlib import Path

import pytest

from core.waiting.one_at_a_time import one_at_a_time


def test_the_second_one_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock, order = tmp_path / "folder" / ".lock", []

    def second() -> None:
        with one_at_a_time(lock, "waiting"):
            order.append("second")

    other = threading.Thread(target=second)
    with one_at_a_time(lock, "not printed"):
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        order.append("first")
    other.join(timeout=10)
    assert order == ["first", "second"]
    assert capsys.readouterr().err == "waiting\n"
