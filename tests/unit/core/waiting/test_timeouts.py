"""A time limit for a call; its errors arrive unchanged."""

import threading

import pytest

from core.errors import DeployError
from core.waiting.timeouts import answer_within


def test_returns_the_answer() -> None:
    assert answer_within(60, lambda: 7, where="the cloud") == 7


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("from the call")])
def test_raises_the_error(error: Exception) -> None:
    def ask() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        answer_within(60, ask, where="the cloud")

    assert raised.value is error


def test_no_answer_in_time_is_an_error() -> None:
    end = threading.Event()
    try:
        with pytest.raises(DeployError, match="the cloud: no answer within 0 s; check the network"):
            answer_within(0.05, end.wait, where="the cloud")
    finally:
        end.set()
