"""The speed that a data volume gets, and what preflight reports about it."""

from typing import Any

import pytest

from catalog.prices import item_usd
from infra.clouds.aws.placing.disk_speed import DiskSpeed, gp3_speed
from infra.clouds.costs.stack_price import stack_price
from infra.clouds.disk_speed import reading_s
from infra.clouds.preflight.reading_time import reading_finding
from infra.config import DeploymentConfig, parse_deployment
from tests.engine.aws_stacks import stack_value

FASTER = "raise storage.data_mib_per_s"


def config(repo: str, ready_timeout_s: int = 900, machine: str = "p4d.24xlarge", **storage: Any) -> DeploymentConfig:
    value = stack_value(f"type: {machine}") | {"storage": storage}
    source = {"kind": "hub", "repo": repo, "revision": "7a" * 20}
    value["serving"] = {"model": {"name": "m", "source": source}, "ready_timeout_s": ready_timeout_s}
    if machine != "p4d.24xlarge":
        value["serving"]["vllm"] = {"kv_cache_gib": 1}
    return parse_deployment(value, "a test")


@pytest.mark.parametrize(
    ("repo", "timeout_s", "asked", "speed"),
    [
        pytest.param("Qwen/Qwen2.5-7B-Instruct", 900, None, DiskSpeed(125, 3000), id="13 GiB"),
        pytest.param("example/Llama-70B", 900, None, DiskSpeed(300, 3000), id="130 GiB"),
        pytest.param("example/Llama-70B", 1800, None, DiskSpeed(150, 3000), id="130 GiB, with a longer timeout"),
        pytest.param("example/Llama-70B", 300, None, DiskSpeed(900, 3600), id="which needs IOPS, too"),
        pytest.param("example/Llama-70B", 60, None, DiskSpeed(1000, 4000), id="no faster than gp3"),
        pytest.param("example/Llama-70B", 900, 800, DiskSpeed(800, 3200), id="set in the stack file"),
        pytest.param("example/mystery", 900, None, DiskSpeed(125, 3000), id="a name without a size"),
    ],
)
def test_a_volume_is_as_fast_as_the_start_needs(repo: str, timeout_s: int, asked: int | None, speed: DiskSpeed) -> None:
    """A 70B model took 1,068 s at gp3's 125 MiB/s, but the unit's start timeout is 900 s."""
    storage: dict[str, Any] = {} if asked is None else {"data_mib_per_s": asked}

    assert gp3_speed(config(repo, timeout_s, **storage)) == speed


def test_reading_takes_half_of_the_start_timeout() -> None:
    asked = config("example/Llama-70B")

    assert reading_s(asked.serving, 125) == pytest.approx(1068, abs=1)
    assert reading_s(asked.serving, gp3_speed(asked).mib_per_s) == pytest.approx(445, abs=1)


def test_preflight_reports_how_long_reading_takes() -> None:
    (found,) = reading_finding(config("example/Llama-70B"), 300, FASTER)
    assert (found.level, found.what) == (
        "ok",
        "300 MiB/s read 130.4 GiB of weights in 445 s of the 900 s that a start may take",
    )
    (slow,) = reading_finding(config("example/Llama-70B", 100), 1000, FASTER)
    assert (slow.level, slow.hint) == (
        "warning",
        "write serving.ready_timeout_s: 300, or raise storage.data_mib_per_s",
    )
    assert list(reading_finding(config("example/mystery"), 125, FASTER)) == []


def test_the_price_includes_the_speed() -> None:
    machine, region = "r5.16xlarge", "ap-northeast-2"
    prices = [stack_price(config("example/Llama-70B", machine=machine, data_mib_per_s=each)) for each in (125, 1000)]

    slow, fast = prices
    assert slow is not None
    assert fast is not None
    per_gib, per_iops = (
        item_usd("aws", region, "ebs_gp3_throughput_above_125"),
        item_usd("aws", region, "ebs_gp3_iops_above_3000"),
    )
    assert per_gib is not None
    assert per_iops is not None
    more = 875 / 1024 * per_gib + 1000 * per_iops
    assert fast.disks_per_month - slow.disks_per_month == pytest.approx(more)
