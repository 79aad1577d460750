"""Prices: sums over the frozen tables, and the table in stacks/README.md."""

import pytest

from catalog.prices import BUCKET_ITEM, HOURS_PER_MONTH, item_usd, keeping_cost, machine_usd
from infra.clouds.costs.stack_price import running_hours, stack_price
from infra.clouds.sizes import GATEWAY_ROOT_GIB
from infra.config import DeploymentConfig, load_stack
from infra.config.models.gateway import GatewayMachineSpec
from infra.config.models.machine import MachineSpec
from infra.config.models.pool import PoolSpec
from infra.config.rules.gateway_machine import DEFAULT_TYPE
from infra.lifecycle.preview import price_table
from infra.lifecycle.preview.price_table import README, updated


def test_the_table_in_the_readme_is_current() -> None:
    """`python -m infra.lifecycle.preview.price_table` writes the table."""
    text = README.read_text()

    assert updated(text) == text


def test_a_stack_costs_its_machine_disks_and_address() -> None:
    price = stack_price(load_stack("aws-cpu"))

    assert price is not None
    assert price.machines_per_hour == 0.208
    assert price.addresses_per_hour == 0.005
    assert price.disks_per_month == pytest.approx(0.0912 * (60 + 20))
    assert price.per_month == pytest.approx((0.208 + 0.005) * HOURS_PER_MONTH + 0.0912 * 80)


def test_the_gateway_s_own_machine_costs_its_hours_disk_and_address() -> None:
    plain, config = stack_price(load_stack("aws-cpu")), _with_gateway("aws-cpu")
    price = stack_price(config)

    assert plain is not None
    assert price is not None
    assert price.machines_per_hour == pytest.approx(plain.machines_per_hour + 0.052)
    assert price.disks_per_month == pytest.approx(plain.disks_per_month + 0.0912 * GATEWAY_ROOT_GIB)
    assert price.addresses_per_hour == pytest.approx(2 * plain.addresses_per_hour)


def test_a_gateway_without_a_price_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFAULT_TYPE, "aws", "t9.tiny")

    price = stack_price(_with_gateway("aws-cpu"))

    assert price is not None
    assert price.not_priced == ("t9.tiny",)


def _with_gateway(stack: str) -> DeploymentConfig:
    config = load_stack(stack)
    own = config.gateway.model_copy(update={"machine": GatewayMachineSpec()})
    return config.model_copy(update={"gateway": own})


def test_a_weekly_schedule_saves_machine_hours_only() -> None:
    config = load_stack("aws-gpu")
    price = stack_price(config)

    assert price is not None
    assert running_hours(config) == pytest.approx(12 * 5 * HOURS_PER_MONTH / 168)
    fixed = price.disks_per_month + price.addresses_per_hour * HOURS_PER_MONTH
    assert price.per_month == pytest.approx(fixed + 1.237 * running_hours(config))


def test_an_item_outside_the_tables_has_no_price() -> None:
    assert machine_usd("aws", "ap-northeast-2", "t2.nano", "on_demand") is None
    assert item_usd("aws", "ap-northeast-2", "nothing") is None
    assert stack_price(load_stack("local")) is None


def test_a_global_price_is_found_in_every_region() -> None:
    assert item_usd("aws", "ap-northeast-2", "public_ipv4_address") == 0.005


@pytest.mark.parametrize(
    ("region", "item", "size_gib", "words"),
    [
        pytest.param("ap-northeast-2", "ebs_gp3_storage", 100, "$9.12 a month", id="a disk"),
        pytest.param("us-east-1", BUCKET_ITEM["aws"], None, "$0.023 a month for each GB in it", id="a bucket"),
        pytest.param(
            "ap-northeast-2",
            BUCKET_ITEM["aws"],
            None,
            "$0.023 a month for each GB in it in us-east-1; that of ap-northeast-2 is not in our table",
            id="another region's price",
        ),
        pytest.param("ap-northeast-2", "nothing", 1, "its price is not in our table", id="no price anywhere"),
    ],
)
def test_the_cost_of_a_kept_resource_is_described(region: str, item: str, size_gib: float | None, words: str) -> None:
    assert keeping_cost("aws", region, item, size_gib) == words


def test_a_spot_stack_costs_the_current_market_price() -> None:
    config = load_stack("aws-gpu-spot")

    assert stack_price(config) is None
    price = stack_price(config, {"main": 0.3})
    assert price is not None
    assert price.machines_per_hour == 0.3


def test_each_pool_costs_its_hours_disks_and_addresses() -> None:
    plain, config = stack_price(_with_gateway("aws-cpu")), _with_gateway("aws-cpu")
    of_pool = MachineSpec(type="m6i.xlarge", count=2)
    pooled = config.model_copy(update={"pools": {"large": PoolSpec(machine=of_pool, serving=config.serving)}})
    price = stack_price(pooled)

    assert plain is not None
    assert price is not None
    hourly = machine_usd("aws", str(config.region), "m6i.xlarge", "on_demand")
    assert price.machines_per_hour == pytest.approx(plain.machines_per_hour + 2 * (hourly or 0.0))
    assert price.disks_per_month == pytest.approx(plain.disks_per_month + 2 * 0.0912 * 80)
    assert price.addresses_per_hour == pytest.approx(2 * plain.addresses_per_hour)


def test_the_table_has_the_highest_price_of_a_spot_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """It once said `at least`, and left the pool out."""
    config = _with_gateway("aws-cpu")
    pool = PoolSpec(machine=MachineSpec(type="g5.xlarge", market="spot", count=2), serving=config.serving)
    pooled = config.model_copy(update={"pools": {"large": pool}})
    most = stack_price(pooled, {"large": machine_usd("aws", str(config.region), "g5.xlarge", "on_demand") or 0.0})
    monkeypatch.setattr(price_table, "load_stack", lambda _: pooled)
    monkeypatch.setattr(price_table, "known_stacks", lambda: ["aws-cpu"])

    row = price_table.table().splitlines()[-2]

    assert most is not None
    assert "t3.xlarge, 2 x g5.xlarge and t3.medium in" in row
    assert row.endswith(f"| at most {most.per_hour:.3f} | at most {most.per_month:,.0f} |")


def test_a_spot_pool_without_a_price_is_left_out_and_named() -> None:
    config = _with_gateway("aws-cpu")
    pool = PoolSpec(machine=MachineSpec(type="g5.xlarge", market="spot"), serving=config.serving)
    pooled = config.model_copy(update={"pools": {"large": pool}})

    unknown, known = stack_price(pooled), stack_price(pooled, {"large": 0.5})

    assert unknown is not None
    assert known is not None
    assert unknown.not_priced == ("g5.xlarge on the spot market (pool large)",)
    assert known.not_priced == ()
    assert known.machines_per_hour == pytest.approx(unknown.machines_per_hour + 0.5)
