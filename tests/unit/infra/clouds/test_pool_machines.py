"""Machines of pools: where all pools can be, which types are tried, and what another attempt may change."""

from typing import Any

import pytest

from core.errors import ConfigError
from infra.clouds.candidates import Candidate
from infra.clouds.pool_machines import beside_pools, still_worth_trying
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import KnownPlacement, Placement, PoolPlacement, Progress
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.clouds.pools import behind

A, B, C = (f"ap-northeast-2{zone}" for zone in "abc")
MAIN_TYPE, BIG, BIGGER = "m6i.2xlarge", "g5.xlarge", "g6.xlarge"


def config(**pools: dict[str, Any]) -> DeploymentConfig:
    asked = pools or {"large": {"type": BIG, "fallbacks": [BIGGER]}}
    return parse_deployment(stack_value() | {"zones": []} | behind(**asked), "a test")


def placement(zone: str = A, machine_type: str = MAIN_TYPE, **pools: str) -> Placement:
    return Placement.model_validate(
        {"id": "0123abcd", "region": "ap-northeast-2", "began_at": "2026-11-21T12:00:00Z", "image_name": "a",
         "image": "ami", "machine_type": machine_type, "zone": zone, "zones": [zone],
         "pools": {name: PoolPlacement(machine_type=each, image_name="a", image="ami") for name, each in pools.items()}}
    )  # fmt: skip


def test_only_zones_with_a_type_of_each_pool_are_tried_with_each_of_its_types() -> None:
    places = [(A, MAIN_TYPE), (B, MAIN_TYPE), (C, MAIN_TYPE)]

    found = beside_pools(places, {BIG: [A, B], BIGGER: [B]}, config(), None)

    assert found == [
        ((A, MAIN_TYPE), {"large": BIG}),
        ((B, MAIN_TYPE), {"large": BIG}),
        ((B, MAIN_TYPE), {"large": BIGGER}),
    ]


def test_two_pools_are_in_one_zone() -> None:
    asked = config(large={"type": BIG}, larger={"type": BIGGER})
    places = [(A, MAIN_TYPE), (B, MAIN_TYPE), (C, MAIN_TYPE)]

    found = beside_pools(places, {BIG: [A, C], BIGGER: [B, C]}, asked, None)

    assert found == [((C, MAIN_TYPE), {"large": BIG, "larger": BIGGER})]


@pytest.mark.parametrize(
    ("offered", "previous", "line"),
    [
        pytest.param({BIG: [], BIGGER: []}, None, f"{BIG}, {BIGGER}: not offered in {A}, where the other machines can "
                     "be; write another type", id="nowhere"),
        pytest.param({BIG: [B], BIGGER: []}, None, f"{BIG}, {BIGGER}: not offered in {A}, where the other machines can "
                     f"be; {BIG} is offered in {B}", id="elsewhere"),
        pytest.param({BIG: [B], BIGGER: []}, KnownPlacement.of(placement()), f"{BIG}, {BIGGER}: not offered in {A}, "
                     f"where the stack is; {BIG} is offered in {B}", id="a running stack"),
    ],
)  # fmt: skip
def test_a_pool_without_a_place_is_an_error(
    offered: dict[str, list[str]], previous: KnownPlacement | None, line: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        beside_pools([(A, MAIN_TYPE)], offered, config(), previous)

    assert str(refused.value) == f"pools.large.machine.type: {line}"


@pytest.mark.parametrize(
    ("progress", "types"),
    [
        pytest.param(None, [BIGGER, BIG], id="it runs"),
        pytest.param(Progress(), [BIGGER, BIG], id="a first up was interrupted"),
        pytest.param(Progress(holds_nothing=True), [BIG], id="nothing was made"),
    ],
)
def test_a_pool_keeps_its_type_even_if_it_is_no_longer_offered(progress: Progress | None, types: list[str]) -> None:
    previous = KnownPlacement.of(placement(large=BIGGER), progress)

    found = beside_pools([(A, MAIN_TYPE)], {BIG: [A], BIGGER: []}, config(), previous)

    assert [of_pools["large"] for _place, of_pools in found] == types


LEFT = (
    placement(A, MAIN_TYPE, large=BIGGER, small="t3.large"),
    placement(A, MAIN_TYPE, large=BIG, small="t3.xlarge"),
    placement(A, MAIN_TYPE, large=BIGGER, small="t3.xlarge"),
    placement(A, "m6i.4xlarge", large=BIG, small="t3.large"),
    placement(B, MAIN_TYPE, large=BIG, small="t3.large"),
)
TRIED = placement(A, MAIN_TYPE, large=BIG, small="t3.large")


@pytest.mark.parametrize(
    ("failed", "is_complete", "kept"),
    [
        pytest.param(("prod-large-1",), False, [0, 2, 4], id="a pool of a new stack: other types, other zones"),
        pytest.param(("prod-large-1-data",), False, [0, 2, 4], id="its volume"),
        pytest.param(("prod-1",), False, [3, 4], id="main of a new stack"),
        pytest.param(("prod-large-1", "prod-small-2"), False, [2, 4], id="two pools"),
        pytest.param(("prod-large-2",), True, [0], id="a pool of a running stack: nothing else changes"),
        pytest.param(("prod-1",), True, [3, 4], id="main of a running stack"),
        pytest.param((), True, [0, 1, 2, 3, 4], id="not known what failed"),
        pytest.param(("prod-gateway",), False, [0, 1, 2, 3, 4], id="the gateway"),
    ],
)
def test_another_attempt_changes_what_had_no_stock_and_nothing_that_runs(
    failed: tuple[str, ...], is_complete: bool, kept: list[int]
) -> None:
    left = [Candidate(each) for each in LEFT]

    found = still_worth_trying(left, Candidate(TRIED), failed, "prod", is_complete=is_complete)

    assert found == [left[index] for index in kept]


def test_a_stack_with_one_pool_tries_everything() -> None:
    left = [Candidate(placement(A, "m6i.4xlarge")), Candidate(placement(B))]

    assert still_worth_trying(left, Candidate(placement()), ("prod-1",), "prod", is_complete=True) == left


def test_a_candidate_names_the_types_of_all_pools() -> None:
    candidate = Candidate(TRIED, 0.5, {"large": 0.25})

    assert str(candidate) == f"{MAIN_TYPE}, {BIG} (large), t3.large (small) in {A}, $0.5000 and $0.2500 (large) an hour"
    assert candidate.spot_usd_per_hour == {"main": 0.5, "large": 0.25}
