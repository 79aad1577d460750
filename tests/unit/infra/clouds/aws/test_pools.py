"""Several pools on AWS: what the program makes for a pool, and that nothing else changes."""

from typing import Any

import pytest

from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import Placement
from tests.doubles.provider.mocks import TableMocks
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.clouds.aws.deployed import Deployed
from tests.unit.infra.clouds.pools import added_beside, behind, named, records_with_a_spot_pool

INSTANCE = "aws:ec2/instance:Instance"
INTERFACE = "aws:ec2/networkInterface:NetworkInterface"

GATEWAY = {"machine_type": "t3.medium", "image": "ami-0a24040000000000b"}
LARGE = {"machine_type": "g5.xlarge", "image_name": "ubuntu-22.04", "image": "ami-0a22040000000000a"}
MACHINE = {"type": "g5.xlarge", "count": 2, "market": "spot", "image": "ubuntu-22.04"}


def stack_file(**pools: dict[str, Any]) -> DeploymentConfig:
    value = stack_value("type: m6i.2xlarge", more="storage: {bucket: {}}")
    return parse_deployment(value | behind(**pools), "a test")


def made(deployed: Deployed, config: DeploymentConfig, **placed: Any) -> TableMocks:
    return deployed(config=config, gateway=GATEWAY, **placed)


@pytest.fixture
def pooled(deployed: Deployed) -> TableMocks:
    """A machine on demand, and two spot machines with a GPU in a pool of their own."""
    return made(deployed, stack_file(large=MACHINE), pools={"large": LARGE})


def test_each_pool_has_its_type_image_and_market(pooled: TableMocks) -> None:
    hosts = named(pooled, INSTANCE)

    assert sorted(hosts) == ["prod-1", "prod-gateway", "prod-large-1", "prod-large-2"]
    assert {name: (each["instanceType"], each["ami"]) for name, each in hosts.items()} == {
        "prod-1": ("m6i.2xlarge", "ami-0a24040000000000a"),
        "prod-large-1": ("g5.xlarge", "ami-0a22040000000000a"),
        "prod-large-2": ("g5.xlarge", "ami-0a22040000000000a"),
        "prod-gateway": ("t3.medium", "ami-0a24040000000000b"),
    }
    spot = [name for name, each in hosts.items() if "instanceMarketOptions" in each]
    assert sorted(spot) == ["prod-large-1", "prod-large-2"]


def test_the_machines_of_a_pool_have_volumes_and_the_group_of_engines(pooled: TableMocks) -> None:
    volumes = named(pooled, "aws:ebs/volume:Volume")
    assert sorted(volumes) == ["prod-1-data", "prod-large-1-data", "prod-large-2-data"]
    interfaces = named(pooled, INTERFACE)
    assert interfaces["prod-large-1"]["securityGroups"] == interfaces["prod-1"]["securityGroups"] == ["prod-id"]
    assert interfaces["prod-large-1"]["subnetId"] == interfaces["prod-1"]["subnetId"], "one zone"
    assert len(named(pooled, "aws:ec2/securityGroup:SecurityGroup")) == 2


def test_each_machine_of_a_pool_ends_by_a_schedule_of_its_own(pooled: TableMocks) -> None:
    schedules = named(pooled, "aws:scheduler/schedule:Schedule")

    assert sorted(schedules) == [f"prod-terminate-{which}" for which in ("1", "gateway", "large-1", "large-2")]
    assert "prod-large-2-id" in schedules["prod-terminate-large-2"]["target"]["input"]


def test_the_records_have_pool_and_market_of_each_host(deployed: Deployed) -> None:
    """The gateway's own record said `market: spot` in a spot stack, though it is on demand."""
    hosts: list[dict[str, Any]] = []
    made(deployed, stack_file(large=MACHINE), pools={"large": LARGE}, hosts=hosts)

    records = records_with_a_spot_pool(hosts)
    assert all(each.private_address for each in records.values())
    assert records["prod-large-1"].gpu is not None


def test_a_pool_changes_no_other_resource(deployed: Deployed) -> None:
    """So an `up` that adds or removes it neither replaces nor restarts what serves."""
    small = MACHINE | {"market": "on_demand"}
    plain = made(deployed, stack_file())
    pooled = made(deployed, stack_file(large=small), pools={"large": LARGE})

    added = added_beside(plain, pooled, without_keys)
    assert added
    assert all("-large-" in name for name in added)


def without_keys(inputs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key != "userData"}


def test_a_placement_without_a_pool_has_no_view_of_it() -> None:
    placement = Placement.model_validate(
        {"id": "0123abcd", "region": "r", "began_at": "2026-11-21T12:00:00Z", "image_name": "a", "image": "b",
         "machine_type": "m6i.2xlarge", "zone": "z", "zones": ["z"], "gateway": GATEWAY, "pools": {"large": LARGE}}
    )  # fmt: skip

    assert placement.of_pool("small") is None
    view = placement.of_pool("large")
    assert view is not None
    assert (view.machine_type, view.image, view.gateway, view.pools) == ("g5.xlarge", LARGE["image"], None, {})
