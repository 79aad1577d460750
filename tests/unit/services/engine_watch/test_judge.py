"""Slow, dead or well: what the watcher decides from a row of looks, one a second."""

from collections.abc import Callable

import pytest

from services.engine_watch.judge import Look
from tests.unit.services.engine_watch.looks import judged, look

Row = Callable[[float], Look]

SERVES = [look(float(at), mark=("0",)) for at in range(2)]
"""Every engine here has answered before; `at` goes on from 2."""

SLOW: dict[str, tuple[int, Row]] = {
    "no work": (100, lambda at: look(at, mark=("0",))),
    "tokens come": (100, lambda at: look(at, busy=True, mark=(str(at),))),
    "a long prefill on a CPU: no counter, but processor time": (
        55,
        lambda at: look(at, busy=True, mark=("1",), core=("S", at * 1.5)),
    ),
    "starved: the host gives it no processor": (55, lambda at: look(at, busy=True, mark=("1",), core=("R", 0.0))),
    "swapped out: it waits for the disk": (55, lambda at: look(at, busy=True, mark=("1",), core=("D", 0.0))),
    "a GPU computes while the processors wait": (55, lambda at: look(at, busy=True, mark=("1",), gpu_busy=True)),
    "metrics late under load": (55, lambda at: look(at, answer="silent", front=("R", at), core=("S", at))),
    "the front splits a long prompt": (55, lambda at: look(at, answer="silent", front=("S", at * 0.9))),
    "one look met a debugger": (3, lambda at: look(at, core=("t" if at == 2 else "S", 0.0), mark=("0",))),
    "one request ends as another begins": (100, lambda at: look(at, busy=True, mark=(str(at // 2),))),
    "an answer of Ollama that takes minutes": (
        300,
        lambda at: look(at, busy=True, core=("R", at), gpu_busy=True),
    ),
}

DEAD: dict[str, tuple[float, str, Row]] = {
    "stopped while it works": (2, "is stopped by", lambda at: look(at, busy=True, mark=("1",), core=("T", 0.0))),
    "stopped without work": (2, "VLLM::EngineCor is stopped", lambda at: look(at, core=("T", 0.0), mark=("0",))),
    "the front is stopped": (2, "python3 is stopped", lambda at: look(at, front=("T", 0.0), answer="silent")),
    "nothing moves": (5, "nothing moves", lambda at: look(at, busy=True, mark=("1",))),
    "nothing moves but a heartbeat": (
        5,
        "nothing moves",
        lambda at: look(at, busy=True, mark=("1",), core=("S", at * 0.01)),
    ),
    "the front answers others, the core does not compute": (
        5,
        "nothing moves",
        lambda at: look(at, busy=True, mark=("1",), front=("S", at * 0.9)),
    ),
    "metrics silent, no processor time": (5, "no metrics", lambda at: look(at, answer="silent")),
    "metrics silent for ever": (63, "no metrics for 6", lambda at: look(at, answer="silent", front=("R", at))),
    "a kernel that never ends": (
        63,
        "without a result",
        lambda at: look(at, busy=True, mark=("1",), core=("R", at), gpu_busy=True),
    ),
}


@pytest.mark.parametrize(("seconds", "row"), SLOW.values(), ids=SLOW)
def test_slow_is_not_dead(seconds: int, row: Row) -> None:
    verdicts = judged([*SERVES, *(row(float(at)) for at in range(2, 2 + seconds))])
    assert {each.kind for each in verdicts} == {"works"}


@pytest.mark.parametrize(("within_s", "words", "row"), DEAD.values(), ids=DEAD)
def test_a_hang_is_seen_in_time(within_s: float, words: str, row: Row) -> None:
    verdicts = judged([*SERVES, *(row(float(at)) for at in range(2, int(within_s) + 3))])
    assert verdicts[-1].kind == "hangs"
    assert words in verdicts[-1].reason


def test_a_hang_ends_when_the_engine_goes_on() -> None:
    rows = [look(float(at), busy=True, mark=("1",), core=("T", 0.0)) for at in range(2, 6)]
    went_on = look(6.0, busy=True, mark=("2",), core=("S", 0.2))
    verdicts = judged([*SERVES, *rows, went_on])
    assert [each.kind for each in verdicts[-2:]] == ["hangs", "works"]


def test_time_in_which_the_watcher_got_no_processor_does_not_count() -> None:
    rows = [look(at, busy=True, mark=("1",)) for at in (2.0, 3.0, 20.0, 40.0, 41.0)]
    assert {each.kind for each in judged([*SERVES, *rows])} == {"works"}


STARTS = {
    "no process": Look(at=0.0, processes=(), answer="refused"),
    "it loads its model": look(0.0, answer="refused"),
    "its port is bound, and nobody answers yet": look(0.0, answer="silent"),
}


@pytest.mark.parametrize("first", STARTS.values(), ids=STARTS)
def test_an_engine_that_never_answered_is_not_there_yet(first: Look) -> None:
    rows = [Look(float(at), first.processes, first.answer) for at in range(200)]
    assert {each.kind for each in judged(rows)} <= {"absent", "closed"}


def test_an_engine_that_served_and_closed_its_port_gets_nothing() -> None:
    verdicts = judged([*SERVES, *(look(float(at), answer="refused") for at in range(2, 30))])
    assert {each.kind for each in verdicts[2:]} == {"closed"}
