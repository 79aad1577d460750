"""No answer takes longer than it may, and every error arrives as it was raised."""

import threading

import pytest

from core.errors import DeployError
from core.timeouts import answer_within


def test_an_answer_is_handed_on() -> None:
    assert answer_within(60, lambda: 7, where="the cloud") == 7


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("of its own")])
def test_an_error_is_handed_on(error: Exception) -> None:
    def ask() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        answer_within(60, ask, where="the cloud")

    assert raised.value is error


def test_no_answer_is_told_in_words_and_waited_for_no_longer() -> None:
    end = threading.Event()
    try:
        with pytest.raises(DeployError, match="the cloud: no answer within 0 s; check the network"):
            answer_within(0.05, end.wait, where="the cloud")
    finally:
        end.set()
