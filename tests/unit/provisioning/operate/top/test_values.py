"""The numbers of `make top`: unknown is not zero, and old is not present."""

from collections.abc import Sequence
from typing import Any

import pytest

from provisioning.operate.top.values import ClassRow, Seen, percentile, top
from tests.unit.provisioning.operate.top.reports import (
    UNANSWERED,
    engine,
    gateway,
    pool,
    refused,
    report,
    request,
    server,
)


def test_a_pool() -> None:
    seen = top("local-pool", pool())
    assert [(row.name, row.state, row.running, row.places) for row in seen.hosts] == [
        ("pool-1", "UP", 7, 8),
        ("pool-2", "DOWN", 0, 8),
    ]
    assert (seen.running, seen.places, seen.waiting) == (7, 8, 3)
    assert seen.answer_tokens_s == 123
    assert seen.hosts[0].prompt_tokens_s == 1230
    assert seen.reasons == {"queue_full": 2}
    (spend,) = seen.spend
    assert (spend.provider, spend.spent_usd, spend.cap_usd) == ("together", 4.2, 5.0)


def test_a_host_that_does_not_answer_shows_no_old_numbers() -> None:
    silent = top("local-pool", pool()).hosts[1]
    assert silent.error == "no answer for 14 s"
    assert (silent.answer_tokens_s, silent.cache, silent.adapters) == (None, None, None)


def test_engine_and_gateway_on_one_host() -> None:
    both = gateway(server("one", running=2), engine=engine(5), monotonic=2.0)
    (row,) = top("local", [Seen(host="one", latest=both)]).hosts
    assert (row.state, row.running, row.adapters) == ("UP", 2, ("contract@3",))
    assert row.answer_tokens_s is None, "one answer gives no rate"


def test_nothing_is_known_without_a_gateway() -> None:
    seen = top("local", [Seen(host="one", error="timed out")])
    assert (seen.waiting, seen.running, seen.places, seen.answer_tokens_s) == (None, None, None, None)
    assert seen.classes == ()
    assert seen.hosts[0].state == "no answer"


def test_an_engine_that_restarted_has_no_rate() -> None:
    """Its counters begin at 0 again."""
    before, latest = report(engine=engine(900), monotonic=1.0), report(engine=engine(3), monotonic=3.0)
    (row,) = top("local", [Seen(host="one", latest=latest, before=before)]).hosts
    assert row.answer_tokens_s is None


def test_an_engine_that_was_down_before_has_no_rate() -> None:
    before, latest = report(monotonic=1.0), report(engine=engine(3), monotonic=3.0)
    (row,) = top("local", [Seen(host="one", latest=latest, before=before)]).hosts
    assert row.answer_tokens_s is None


CLASSES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "served": ([request()] * 3, {"requests": 3, "first_p50_s": 0.4, "first_p95_s": 0.4, "wait_p95_s": 0.1}),
    "refused ones have no times": (
        [refused("queue_full"), request()],
        {"requests": 2, "refused": 1, "errors": 0, "first_p95_s": 0.4},
    ),
    "only refused ones": ([refused("too_long")], {"refused": 1, "first_p50_s": None, "wait_p95_s": None}),
    "a wait that timed out counts as refused": (
        [request(status=429, queue_ms=30_000, **UNANSWERED)],
        {"refused": 1, "errors": 0, "first_p50_s": None},
    ),
    "an error of the engine has no first token": (
        [request(status=502)],
        {"errors": 1, "refused": 0, "first_p50_s": None, "wait_p95_s": 0.1},
    ),
    "a stream whose engine broke off before its first token": (
        [request(first_token_ms=-1)],
        {"requests": 1, "first_p50_s": None, "wait_p95_s": 0.1},
    ),
    "a client that hung up before the answer": ([request(status=-1, **UNANSWERED)], {"errors": 1, "refused": 0}),
    "a mistake of the client does not count as an error": ([request(status=400)], {"errors": 0, "refused": 0}),
}


@pytest.mark.parametrize(("requests", "expected"), CLASSES.values(), ids=CLASSES)
def test_the_requests_of_a_class(requests: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    (row,) = top("local", [Seen(host="one", latest=gateway(server("one"), requests=requests))]).classes
    assert isinstance(row, ClassRow)
    assert {name: getattr(row, name) for name in expected} == expected


def test_classes_keep_their_order_and_requests_without_one_come_last() -> None:
    unknown = refused("model_not_found") | {"class": "-"}
    requests = [unknown] * 3 + [request(**{"class": "batch"})] * 2 + [request()]
    seen = top("local", [Seen(host="one", latest=gateway(server("one"), requests=requests))])
    assert [row.name for row in seen.classes] == ["interactive", "batch", "-"]


def test_failed_requests_are_counted_by_reason() -> None:
    overflowed = request(status=503, decision="overflow", reason="queue_full", **UNANSWERED)
    no_engine = refused("no_engine") | {"status": 503}
    left = request(status=-1, **UNANSWERED)
    requests = [overflowed] * 3 + [no_engine, request(status=502), left, refused("queue_full"), request()]
    seen = top("local", [Seen(host="one", latest=gateway(server("one"), requests=requests))])
    assert seen.failures == {"overflow_failed": 3, "no_engine": 1, "HTTP 502": 1, "client left": 1}
    assert sum(seen.failures.values()) == sum(row.errors for row in seen.classes)


def test_a_class_of_which_requests_only_wait_has_a_row() -> None:
    waiting = [{"pool": pool, "class": "batch", "requests": 2} for pool in ("main", "other")]
    seen = top("local", [Seen(host="one", latest={**gateway(server("one")), "waiting": waiting})])
    assert [(row.name, row.waiting, row.requests) for row in seen.classes] == [("batch", 4, 0)]
    assert seen.waiting == 4


def test_a_gateway_before_its_next_provision_knows_no_classes_of_those_that_wait() -> None:
    old = {**gateway(server("one"), waiting=5, requests=[request()]), "waiting": None}
    seen = top("local", [Seen(host="one", latest=old)])
    assert seen.waiting == 5
    assert [row.waiting for row in seen.classes] == [None]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ((), 0.5, None),
        ((3.0,), 0.95, 3.0),
        (tuple(range(1, 101)), 0.95, 95),
        (tuple(range(1, 101)), 0.5, 50),
        ((1, 2), 0.95, 2),
    ],
)
def test_percentile(values: Sequence[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_what_could_not_be_read_is_named() -> None:
    broken = gateway(server("one"), unseen={"requests": "CalledProcessError: no journal"})
    assert top("local", [Seen(host="one", latest=broken)]).unseen == {"one requests": "CalledProcessError: no journal"}
