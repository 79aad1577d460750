"""Placement: order of tries, errors that end the search, time limit and table, on a simulated clock."""

from collections.abc import Callable

import pytest

from core.errors import DeployError
from infra.automation.engine_errors import EngineTimeoutError
from infra.clouds.candidates import Candidate
from infra.contract.stack_placement import Placement
from infra.lifecycle.placement.trying import place, table

STOCK = "InsufficientInstanceCapacity: no capacity"


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def candidate(zone: str) -> Candidate:
    placement = Placement.model_validate(
        {
            "id": "0123abcd",
            "region": "r",
            "began_at": "2026-11-21T12:00:00Z",
            "image_name": "ubuntu-24.04",
            "image": "ami-0a24040000000000a",
            "machine_type": "g5.xlarge",
            "zone": zone,
            "zones": [zone],
        }
    )
    return Candidate(placement)


def attempts(
    clock: Clock, has_stock: Callable[[str], bool], seconds: float = 10.0
) -> tuple[list[str], Callable[[Candidate, float], str]]:
    tried: list[str] = []

    def attempt(each: Candidate, _left_s: float) -> str:
        tried.append(each.placement.zone)
        clock.now += seconds
        if not has_stock(each.placement.zone):
            raise DeployError("update failed", detail=STOCK)
        return each.placement.zone

    return tried, attempt


def out_of_stock(text: str) -> str | None:
    return STOCK if STOCK in text else None


def test_the_first_candidate_with_stock_is_used() -> None:
    clock = Clock()
    tried, attempt = attempts(clock, lambda zone: zone == "c")

    result, tries = place(
        [candidate(each) for each in "abcd"], attempt, out_of_stock=out_of_stock, timeout_s=900, clock=clock
    )

    assert (result, tried) == ("c", ["a", "b", "c"])
    assert [each.outcome for each in tries] == ["out of stock", "out of stock", "placed"]
    assert [each.seconds for each in tries] == [10.0, 10.0, 10.0]


def test_an_error_other_than_no_stock_ends_the_search() -> None:
    tried: list[str] = []

    def attempt(each: Candidate, _left_s: float) -> str:
        tried.append(each.placement.zone)
        raise DeployError("VcpuLimitExceeded")

    with pytest.raises(DeployError, match="VcpuLimitExceeded"):
        place([candidate("a"), candidate("b")], attempt, out_of_stock=out_of_stock, timeout_s=900)
    assert tried == ["a"]


def test_the_error_without_stock_has_a_table_of_the_tries() -> None:
    clock = Clock()
    _tried, attempt = attempts(clock, lambda _zone: False)

    with pytest.raises(DeployError, match="no machines anywhere") as caught:
        place([candidate("a"), candidate("b")], attempt, out_of_stock=out_of_stock, timeout_s=900, clock=clock)

    assert caught.value.detail.splitlines() == [
        "  zone  type       outcome       seconds",
        f"  a     g5.xlarge  out of stock  10       {STOCK}",
        f"  b     g5.xlarge  out of stock  10       {STOCK}",
    ]


def test_no_candidate_is_tried_after_the_time_limit() -> None:
    clock = Clock()
    tried, attempt = attempts(clock, lambda _zone: False, seconds=60)

    with pytest.raises(DeployError, match="no machines within 100 s") as caught:
        place([candidate(each) for each in "abcd"], attempt, out_of_stock=out_of_stock, timeout_s=100, clock=clock)

    assert tried == ["a", "b"]
    assert caught.value.detail.count("not tried") == 2


def test_an_attempt_that_hangs_ends_at_the_time_limit() -> None:
    """The limit was once checked only before each attempt, so one that hung exceeded it."""
    clock, given = Clock(), list[float]()

    def attempt(each: Candidate, left_s: float) -> str:
        given.append(left_s)
        if each.placement.zone == "a":
            clock.now += 40
            raise DeployError("update failed", detail=STOCK)
        clock.now += left_s
        raise EngineTimeoutError("was stopped after 60 s")

    with pytest.raises(DeployError, match=r"no machines within 100 s; .* machine.placement_timeout_s") as caught:
        place([candidate(each) for each in "abc"], attempt, out_of_stock=out_of_stock, timeout_s=100, clock=clock)

    assert given == [100, 60]
    assert [line.split()[2:4] for line in caught.value.detail.splitlines()[1:]] == [
        ["out", "of"],
        ["took", "too"],
        ["not", "tried"],
    ]


def test_an_empty_table_has_only_its_header() -> None:
    assert table([]) == "  zone  type  outcome  seconds"
