"""The parts that a stack may have: those in its file and those that it had before."""

from typing import Any

import pytest

from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import Placement
from infra.lifecycle.placement.optional_parts import all_parts, parts_of
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.clouds.aws.made import PLACEMENT

BUDGET = {"ttl_hours": 8, "budget": {"usd_per_month": 100, "mail": "team@example.com"}}
WEEKLY = {"ttl_hours": 100, "weekly": {"start": "08:00", "stop": "20:00", "time_zone": "Asia/Seoul"}}


def config(machine: str = "type: m6i.2xlarge", more: str = "", **values: Any) -> DeploymentConfig:
    return parse_deployment(stack_value(machine, more=more) | values, "a test")


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        pytest.param(config(), {"network"}, id="the minimum"),
        pytest.param(config(more="existing"), set(), id="an existing network"),
        pytest.param(config(storage={"bucket": {}}), {"network", "bucket"}, id="a bucket"),
        pytest.param(config(storage={"bucket": {"name": "theirs"}}), {"network"}, id="an existing bucket"),
        pytest.param(config(lifetime=BUDGET), {"network", "budget"}, id="a budget"),
        pytest.param(config(lifetime=WEEKLY), {"network", "weekly"}, id="weekly hours"),
        pytest.param(config("type: m6i.2xlarge, market: spot"), {"network", "spot"}, id="spot"),
    ],
)
def test_parts_are_read_from_the_stack_file(asked: DeploymentConfig, parts: set[str]) -> None:
    assert parts_of(asked) == parts


@pytest.mark.parametrize(
    ("previous", "parts"),
    [
        pytest.param(None, ("network",), id="a first up"),
        pytest.param(PLACEMENT, None, id="a placement without parts may have all"),
        pytest.param(
            PLACEMENT.model_copy(update={"parts": ("bucket",)}), ("bucket", "network"), id="an earlier bucket"
        ),
    ],
)
def test_parts_that_the_stack_had_before_are_included(
    previous: Placement | None, parts: tuple[str, ...] | None
) -> None:
    """`down` looks for a bucket that a killed engine created, although the file no longer has one."""
    assert all_parts(config(), previous) == parts
