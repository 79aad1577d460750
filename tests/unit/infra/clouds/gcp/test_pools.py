"""Several pools on GCP: what the program makes for a pool, and that nothing else changes."""

from typing import Any

import pytest

from infra.clouds.gcp.api.names import owner_by_name, pool_of_node
from infra.config import DeploymentConfig, parse_deployment
from tests.doubles.provider.mocks import TableMocks
from tests.engine.gcp_stacks import stack_value
from tests.unit.infra.clouds.gcp.deployed import Deployed
from tests.unit.infra.clouds.pools import added_beside, behind, named, records_with_a_spot_pool

INSTANCE = "gcp:compute/instance:Instance"
DISK = "gcp:compute/disk:Disk"

UBUNTU_22 = "projects/ubuntu-os-cloud/global/images/ubuntu-2204-jammy-v20260701"
GATEWAY = {"machine_type": "e2-standard-2", "image": UBUNTU_22}
LARGE = {"machine_type": "g2-standard-4", "image_name": "ubuntu-22.04", "image": UBUNTU_22}
MACHINE = {"type": "g2-standard-4", "count": 2, "market": "spot", "image": "ubuntu-22.04"}
WRITING = "https://www.googleapis.com/auth/devstorage.read_write"


def stack_file(**pools: dict[str, Any]) -> DeploymentConfig:
    value = stack_value("type: e2-standard-8", more="storage: {bucket: {}}")
    return parse_deployment(value | behind(**pools), "a test")


def made(deployed: Deployed, config: DeploymentConfig, **placed: Any) -> TableMocks:
    return deployed(config=config, gateway=GATEWAY, writes_notices=True, **placed)


@pytest.fixture
def pooled(deployed: Deployed) -> TableMocks:
    """A machine on demand, and two spot machines with a GPU in a pool of their own."""
    return made(deployed, stack_file(large=MACHINE), pools={"large": LARGE})


def test_each_pool_has_its_type_image_and_market(pooled: TableMocks) -> None:
    hosts = named(pooled, INSTANCE)

    assert {name: (each["name"], each["machineType"], each["scheduling"]["provisioningModel"])
            for name, each in hosts.items()} == {
        "prod-1": ("llm-prod-0123abcd-1", "e2-standard-8", "STANDARD"),
        "prod-large-1": ("llm-prod-0123abcd-large-1", "g2-standard-4", "SPOT"),
        "prod-large-2": ("llm-prod-0123abcd-large-2", "g2-standard-4", "SPOT"),
        "prod-gateway": ("llm-prod-0123abcd-gateway", "e2-standard-2", "STANDARD"),
    }  # fmt: skip
    assert hosts["prod-large-1"]["bootDisk"]["initializeParams"]["image"] == UBUNTU_22
    assert (
        hosts["prod-large-1"]["bootDisk"]["initializeParams"]["labels"]
        != (hosts["prod-1"]["bootDisk"]["initializeParams"]["labels"])
    )
    assert len({each["zone"] for each in hosts.values()}) == 1


def test_the_machines_of_a_pool_have_disks_and_the_account_of_engines(pooled: TableMocks) -> None:
    assert sorted(named(pooled, DISK)) == ["prod-1-data", "prod-large-1-data", "prod-large-2-data"]
    hosts = named(pooled, INSTANCE)
    assert hosts["prod-large-1"]["serviceAccount"]["email"] == hosts["prod-1"]["serviceAccount"]["email"]
    assert sorted(named(pooled, "gcp:serviceaccount/account:Account")) == ["prod", "prod-gateway"]


def test_all_engines_have_the_same_scopes(pooled: TableMocks) -> None:
    """Another scope stops a running machine, so a spot pool beside it may not change it."""
    scopes = {name: each["serviceAccount"]["scopes"] for name, each in named(pooled, INSTANCE).items()}

    assert WRITING in scopes["prod-1"]
    assert scopes["prod-1"] == scopes["prod-large-1"]


def test_the_records_have_pool_and_market_of_each_host(deployed: Deployed) -> None:
    """The gateway's own record said `market: spot` in a spot stack, though it is on demand."""
    hosts: list[dict[str, Any]] = []
    made(deployed, stack_file(large=MACHINE), pools={"large": LARGE}, hosts=hosts)

    records_with_a_spot_pool(hosts)


def test_a_spot_pool_changes_no_other_machine(deployed: Deployed) -> None:
    """An `up` that adds or removes it neither replaces nor restarts what serves."""
    plain = made(deployed, stack_file())
    pooled = made(deployed, stack_file(large=MACHINE), pools={"large": LARGE})

    others = {name for name in added_beside(plain, pooled, without_keys) if "-large-" not in name}
    assert others == {"prod-notices"}, "the right of spot machines to add their last records"


def without_keys(inputs: dict[str, Any]) -> dict[str, Any]:
    return {**inputs, "metadata": {**inputs.get("metadata", {}), "user-data": ""}}


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("llm-prod-0123abcd-1", "main"),
        ("llm-prod-0123abcd-12-data", "main"),
        ("llm-prod-0123abcd-large-1", "large"),
        ("llm-my-prod-0123abcd-very-large-3-data", "very-large"),
        ("llm-prod-0123abcd-2-1", "2"),
    ],
)
def test_names_show_the_pool_and_the_stack(name: str, pool: str) -> None:
    assert pool_of_node(name, "0123abcd") == pool
    owner = owner_by_name(name)
    assert owner is not None
    assert owner["placement_id"] == "0123abcd"
