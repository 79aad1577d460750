"""The gateway's own machine on AWS: what the program makes for it, and that nothing else changes."""

import json
from typing import Any

import pytest

from infra.clouds.aws.api.tags import DATA_VOLUME, ENDS_AT
from infra.clouds.sizes import GATEWAY_ROOT_GIB
from tests.doubles.provider.mocks import TableMocks
from tests.unit.infra.clouds.aws.deployed import Deployed

INSTANCE = "aws:ec2/instance:Instance"
INTERFACE = "aws:ec2/networkInterface:NetworkInterface"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"

PLACED = {"machine_type": "t3.medium", "image": "ami-0a24040000000000b"}
ENGINES = "type: g5.xlarge, count: 3, market: spot"
WEEKLY = ', weekly: {start: "08:00", stop: "20:00", time_zone: Asia/Seoul}'


@pytest.fixture
def behind(deployed: Deployed) -> TableMocks:
    """Three spot machines with a GPU behind a gateway of its own."""
    return _run(deployed, gateway=PLACED)


def _run(deployed: Deployed, machine: str = ENGINES, **more: Any) -> TableMocks:
    storage = "storage: {bucket: {}, root_gib: 80}"
    keys = f"{storage}\n    gateway: {{machine: {{}}}}" if "gateway" in more else storage
    return deployed(machine, more=keys, machine_type="g5.xlarge", **more)


def _named(mocks: TableMocks, kind: str) -> dict[str, Any]:
    return {name: inputs for each, name, inputs in mocks.all() if each == kind}


def test_it_is_one_more_machine_on_demand_with_the_guards_of_the_others(behind: TableMocks) -> None:
    hosts = _named(behind, INSTANCE)
    gateway, engine = hosts["prod-gateway"], hosts["prod-1"]

    assert sorted(hosts) == ["prod-1", "prod-2", "prod-3", "prod-gateway"]
    assert (gateway["instanceType"], gateway["ami"]) == ("t3.medium", PLACED["image"])
    assert "instanceMarketOptions" not in gateway
    assert "instanceMarketOptions" in engine
    assert gateway["rootBlockDevice"]["volumeSize"] == GATEWAY_ROOT_GIB
    assert gateway["rootBlockDevice"]["encrypted"] is True
    for key in ("metadataOptions", "instanceInitiatedShutdownBehavior", "keyName"):
        assert gateway[key] == engine[key], key
    assert gateway["tags"][ENDS_AT] == engine["tags"][ENDS_AT]
    interfaces = _named(behind, INTERFACE)
    assert interfaces["prod-gateway"]["subnetId"] == interfaces["prod-1"]["subnetId"], "the zone of the engines"


def test_it_has_no_data_volume(behind: TableMocks) -> None:
    assert behind.names("aws:ebs/volume:Volume") == ["prod-1-data", "prod-2-data", "prod-3-data"]
    assert behind.names("aws:ec2/volumeAttachment:VolumeAttachment") == ["prod-1", "prod-2", "prod-3"]
    hosts = _named(behind, INSTANCE)
    gateway, engine = hosts["prod-gateway"], hosts["prod-1"]
    assert DATA_VOLUME not in gateway["tags"]
    assert "data-volume" in engine["userData"]
    assert "data-volume" not in gateway["userData"]
    assert "llm-end-of-life.timer" in gateway["userData"]


def test_clients_reach_the_gateway_and_the_gateway_the_engines(behind: TableMocks) -> None:
    sources = ("cidrIpv4", "cidrIpv6", "referencedSecurityGroupId")
    opened: dict[str, set[tuple[int, str]]] = {}
    for rule in behind.of(INGRESS):
        assert rule["fromPort"] == rule["toPort"]
        (source,) = (rule[each] for each in sources if each in rule)
        opened.setdefault(rule["securityGroupId"], set()).add((rule["fromPort"], source))

    assert opened == {
        "prod-id": {(22, "198.18.0.7/32"), (8443, "prod-gateway-id"), (8406, "prod-gateway-id")},
        "prod-gateway-id": {(22, "198.18.0.7/32"), (443, "198.18.0.0/24"), (443, "2001:2::/48")},
    }
    held = {name: each["securityGroups"] for name, each in _named(behind, INTERFACE).items()}
    assert held == {f"prod-{number}": ["prod-id"] for number in (1, 2, 3)} | {"prod-gateway": ["prod-gateway-id"]}


def test_it_reads_no_bucket(behind: TableMocks) -> None:
    policies = {each["role"]: json.loads(each["policy"]) for each in behind.of("aws:iam/rolePolicy:RolePolicy")}
    sids = {role: [each.get("Sid") for each in policy["Statement"]] for role, policy in policies.items()}

    assert sids["llm-prod-0123abcd-gateway"] == ["Sessions"]
    assert "ReadModels" in sids["llm-prod-0123abcd-host"]
    profiles = {name: each["iamInstanceProfile"] for name, each in _named(behind, INSTANCE).items()}
    assert profiles["prod-gateway"] != profiles["prod-1"]


def test_it_sleeps_and_ends_with_the_others(deployed: Deployed) -> None:
    mocks = _run(deployed, "type: g5.xlarge", gateway=PLACED, lifetime=WEEKLY)

    schedules = _named(mocks, "aws:scheduler/schedule:Schedule")
    targets = {name: json.loads(each["target"]["input"])["InstanceIds"] for name, each in schedules.items()}
    assert targets == {
        f"prod-{action}-{which}": [f"prod-{which}-id"]
        for action in ("start", "stop", "terminate")
        for which in ("1", "gateway")
    }


def test_a_gateway_changes_no_other_resource(deployed: Deployed) -> None:
    """So an `up` that adds or removes it neither replaces nor restarts what serves."""
    plain = {(kind, name): inputs for kind, name, inputs in _run(deployed).all()}
    behind = {(kind, name): inputs for kind, name, inputs in _run(deployed, gateway=PLACED).all()}

    removed = {name for kind, name in plain.keys() - behind.keys()}
    assert removed == {"prod-clients-198.18.0.0_24", "prod-clients-2001-2--_48"}
    assert all("gateway" in name or "engine" in name for _kind, name in behind.keys() - plain.keys())
    made_up = {("pulumi:index:Stash", f"prod-{number}-host-key") for number in (1, 2, 3)}  # a new key in each run
    changed = [
        key for key in plain.keys() & behind.keys() - made_up if _without_keys(plain[key]) != _without_keys(behind[key])
    ]
    assert changed == []


def _without_keys(inputs: dict[str, Any]) -> dict[str, Any]:
    """Leave out what has the host key: the program makes a new one, and the state keeps the first."""
    return {key: value for key, value in inputs.items() if key != "userData"}
