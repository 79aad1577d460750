"""The gateway's own machine on GCP: what the program makes for it, and that nothing else changes."""

from typing import Any

import pytest

from infra.clouds.sizes import GATEWAY_ROOT_GIB
from tests.doubles.provider.mocks import TableMocks
from tests.unit.infra.clouds.gcp.deployed import Deployed

INSTANCE = "gcp:compute/instance:Instance"
FIREWALL = "gcp:compute/firewall:Firewall"

UBUNTU = "projects/ubuntu-os-cloud/global/images/ubuntu-2404-noble-amd64-v20260701"
PLACED = {"machine_type": "e2-standard-2", "image": UBUNTU}
WEEKLY = {"start": "08:30", "stop": "20:00", "time_zone": "Asia/Seoul"}


@pytest.fixture
def behind(deployed: Deployed) -> TableMocks:
    """Three spot machines with a GPU behind a gateway of its own."""
    return _run(deployed, gateway=PLACED)


def _run(deployed: Deployed, machine: str = ", count: 3, market: spot", **more: Any) -> TableMocks:
    storage = "storage: {bucket: {}, root_gib: 80}"
    keys = f"{storage}\n    gateway: {{machine: {{}}}}" if "gateway" in more else storage
    return deployed("g2-standard-4", machine=machine, more=keys, **more)


def _named(mocks: TableMocks, kind: str) -> dict[str, Any]:
    return {name: inputs for each, name, inputs in mocks.all() if each == kind}


def test_it_is_one_more_machine_on_demand_with_the_guards_of_the_others(behind: TableMocks) -> None:
    hosts = _named(behind, INSTANCE)
    gateway, engine = hosts["prod-gateway"], hosts["prod-1"]

    assert sorted(hosts) == ["prod-1", "prod-2", "prod-3", "prod-gateway"]
    assert (gateway["machineType"], gateway["name"]) == ("e2-standard-2", "llm-prod-0123abcd-gateway")
    boot = gateway["bootDisk"]["initializeParams"]
    assert (boot["image"], boot["size"], boot["type"]) == (UBUNTU, GATEWAY_ROOT_GIB, "pd-balanced")
    assert "guestAccelerators" not in gateway
    assert gateway["scheduling"] == {
        "provisioningModel": "STANDARD",
        "preemptible": False,
        "automaticRestart": True,
        "onHostMaintenance": "MIGRATE",
        "instanceTerminationAction": "DELETE",
        "terminationTime": engine["scheduling"]["terminationTime"],
    }
    assert engine["scheduling"]["provisioningModel"] == "SPOT"
    assert gateway["shieldedInstanceConfig"] == {
        "enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True,
    }  # fmt: skip
    assert {key: value for key, value in gateway["metadata"].items() if key != "user-data"} == {
        key: value for key, value in engine["metadata"].items() if key != "user-data"
    }
    assert gateway["zone"] == engine["zone"]


def test_it_has_no_data_disk(behind: TableMocks) -> None:
    assert behind.names("gcp:compute/disk:Disk") == ["prod-1-data", "prod-2-data", "prod-3-data"]
    hosts = _named(behind, INSTANCE)
    assert not hosts["prod-gateway"].get("attachedDisks")
    assert "data-volume" in hosts["prod-1"]["metadata"]["user-data"]
    assert "data-volume" not in hosts["prod-gateway"]["metadata"]["user-data"]


def test_clients_reach_the_gateway_and_the_gateway_the_engines(behind: TableMocks) -> None:
    engines, gateway = "prod-email", "prod-gateway-email"
    rules = _named(behind, FIREWALL)
    opened = {name: (each["allows"][0]["ports"], set(each["targetServiceAccounts"])) for name, each in rules.items()
              if "allows" in each}  # fmt: skip

    assert opened == {
        "prod-ssh-v4": (["22"], {engines, gateway}),
        "prod-web-v4": (["443"], {gateway}),
        "prod-web-v6": (["443"], {gateway}),
        "prod-engine": (["8443", "8406"], {engines}),
    }
    assert rules["prod-engine"]["sourceServiceAccounts"] == [gateway]
    assert "sourceRanges" not in rules["prod-engine"]
    assert rules["prod-engine"]["priority"] < rules["prod-rest-v4"]["priority"]
    for version in ("v4", "v6"):
        assert set(rules[f"prod-rest-{version}"]["targetServiceAccounts"]) == {engines, gateway}
    accounts = {name: each["serviceAccount"]["email"] for name, each in _named(behind, INSTANCE).items()}
    assert accounts == {f"prod-{number}": engines for number in (1, 2, 3)} | {"prod-gateway": gateway}


def test_its_account_reads_no_bucket(behind: TableMocks) -> None:
    accounts = _named(behind, "gcp:serviceaccount/account:Account")
    assert accounts["prod-gateway"]["accountId"] == "llm-0123abcd-gateway"
    (grant,) = behind.of("gcp:storage/bucketIAMMember:BucketIAMMember")
    assert grant["member"] == "serviceAccount:prod-email"
    scopes = _named(behind, INSTANCE)["prod-gateway"]["serviceAccount"]["scopes"]
    assert scopes == ["https://www.googleapis.com/auth/logging.write"]


def test_it_sleeps_with_the_others(deployed: Deployed) -> None:
    mocks = _run(deployed, "", gateway=PLACED, lifetime={"ttl_hours": 100, "weekly": WEEKLY})

    hosts = _named(mocks, INSTANCE)
    assert hosts["prod-gateway"]["resourcePolicies"] == hosts["prod-1"]["resourcePolicies"] == "prod-id"
    assert hosts["prod-gateway"]["scheduling"]["terminationTime"] == hosts["prod-1"]["scheduling"]["terminationTime"]


def test_a_gateway_changes_no_other_machine_disk_or_address(deployed: Deployed) -> None:
    """An `up` that adds or removes it changes the targets of firewall rules, and nothing else that exists."""
    plain = {(kind, name): inputs for kind, name, inputs in _run(deployed).all()}
    behind = {(kind, name): inputs for kind, name, inputs in _run(deployed, gateway=PLACED).all()}

    assert plain.keys() - behind.keys() == set()
    made_up = {("pulumi:index:Stash", f"prod-{number}-host-key") for number in (1, 2, 3)}  # a new key in each run
    changed = {key for key in plain.keys() - made_up if _without_keys(plain[key]) != _without_keys(behind[key])}
    assert changed == {(FIREWALL, f"prod-{name}") for name in ("ssh-v4", "web-v4", "web-v6", "rest-v4", "rest-v6")}
    for key in changed:
        before, after = plain[key], behind[key]
        assert {name for name in after if before.get(name) != after[name]} == {"targetServiceAccounts"}


def _without_keys(inputs: dict[str, Any]) -> dict[str, Any]:
    """Leave out what has the host key: the program makes a new one, and the state keeps the first."""
    return {**inputs, "metadata": {**inputs.get("metadata", {}), "user-data": ""}}
