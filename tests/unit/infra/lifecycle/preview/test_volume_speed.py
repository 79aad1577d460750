"""The lines of `preview` about the data volume: its speed, its price and how long reading the weights takes."""

from typing import Any

import pytest

from infra.clouds.costs.running_costs import cost_record, known_price
from infra.clouds.costs.stack_price import stack_price
from infra.clouds.preflight.checks import price_finding
from infra.config import DeploymentConfig
from infra.lifecycle.preview.volume_speed import speed_lines, volume_speed
from tests.unit.infra.clouds import test_disk_speed as aws
from tests.unit.infra.clouds.gcp import test_disk_speed as gcp

READS = "MiB/s read 130.4 GiB of weights in"


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        pytest.param(
            aws.config("example/Llama-70B", machine="r5.16xlarge", data_mib_per_s=1000),
            [
                "data volume: gp3, 1000 MiB/s and 4000 IOPS, $45.60 a month more",
                f"data volume: 1000 {READS} 134 s of the 900 s that a start may take",
            ],
            id="aws, faster than the included speed",
        ),
        pytest.param(
            aws.config("example/mystery", machine="r5.16xlarge"),
            ["data volume: gp3, 125 MiB/s and 3000 IOPS, no extra charge"],
            id="aws, a name without a size",
        ),
        pytest.param(
            gcp.config("a2-ultragpu-4g", data_gib=300),
            [
                "data volume: Balanced Persistent Disk, 224 MiB/s, no extra charge",
                f"! data volume: 224 {READS} 596 s of the 900 s that a start may take",
            ],
            id="gcp, slow because the disk is small",
        ),
        pytest.param(
            gcp.config("a3-highgpu-8g"),
            [
                "data volume: Hyperdisk Balanced, 300 MiB/s and 3000 IOPS, price not known, because our table has none;"
                " the sum leaves it out",
                f"data volume: 300 {READS} 445 s of the 900 s that a start may take",
            ],
            id="gcp, Hyperdisk",
        ),
    ],
)
def test_speed_price_and_reading_time_are_reported(config: DeploymentConfig, lines: list[str]) -> None:
    """`preview` once did not print the speed, although the price includes it."""
    assert speed_lines(config, volume_speed(config, str(config.machine.type))) == lines


def test_the_price_of_a_hyperdisk_is_unknown_and_not_zero() -> None:
    """The speed once counted as free, and a machine in the price table had no price because its disk had none."""
    config = gcp.config("a3-highgpu-8g")

    price, speed = stack_price(config), volume_speed(config, "a3-highgpu-8g")
    (line,) = known_price(config)
    (finding,) = price_finding(config)

    assert price is not None
    assert price.not_priced == ("331 GiB of Hyperdisk Balanced", "the speed of Hyperdisk Balanced")
    assert line.startswith("price: at least $88.495 an hour, ")
    assert line.endswith("no price for it: 331 GiB of Hyperdisk Balanced, the speed of Hyperdisk Balanced")
    assert (finding.level, finding.what) == ("warning", line.removeprefix("price: "))
    assert cost_record(config)["not_priced"] == list(price.not_priced)
    assert speed.record()["usd_per_month"] is None


def test_a_fallback_of_another_family_has_the_speed_of_its_own_disks() -> None:
    config = gcp.config("a2-ultragpu-4g")

    assert volume_speed(config, "a2-ultragpu-4g").disk == "pd-balanced"
    other = volume_speed(config, "a3-highgpu-4g")
    assert (other.disk, other.mib_per_s, other.iops, other.usd_per_month) == ("hyperdisk-balanced", 300, 3000, None)


def test_the_cost_record_lists_the_prices_in_the_tables() -> None:
    config = aws.config("example/Llama-70B", machine="r5.16xlarge", data_mib_per_s=1000)
    price = stack_price(config)
    assert price is not None

    record: dict[str, Any] = cost_record(config)

    assert record == {
        "usd_per_hour": round(price.per_hour, 4),
        "usd_per_month": round(price.per_month, 2),
        "not_priced": [],
    }
