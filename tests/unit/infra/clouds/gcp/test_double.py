"""The double of GCP: mistakes that it must catch, each in the words of the plugin."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.kinds.instance import Instance
from tests.doubles.gcp.refusal import Refusal
from tests.doubles.gcp.rules import names
from tests.doubles.gcp.seed import PROJECT, UBUNTU_24
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store
from tests.doubles.provider.diff import changes
from tests.doubles.provider.kind import CloudError
from tests.unit.infra.clouds.gcp.made import MINE, ZONE, make_stack

REGION = "asia-northeast3"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def gcp() -> Gcp:
    """A cloud with a network and a service account, for an instance."""
    cloud = Gcp(Store(), PROJECT, REGION)
    network = f"projects/{PROJECT}/global/networks/n"
    cloud.insert(network, {"autoCreateSubnetworks": False}, "Network")
    subnet = f"projects/{PROJECT}/regions/{REGION}/subnetworks/n"
    cloud.insert(subnet, {"network": network, "ipCidrRange": "10.83.0.0/16"}, "Subnetwork")
    email = f"llm-{MINE}@{PROJECT}.iam.gserviceaccount.com"
    cloud.insert(f"projects/{PROJECT}/serviceAccounts/{email}", {"email": email}, "service account")
    return cloud


GOOD: dict[str, Any] = {
    "name": "host",
    "zone": ZONE,
    "machineType": "g2-standard-4",
    "bootDisk": {
        "initializeParams": {
            "image": f"projects/ubuntu-os-cloud/global/images/{UBUNTU_24}",
            "size": 60,
            "type": "pd-balanced",
        }
    },
    "networkInterfaces": [{"subnetwork": f"projects/{PROJECT}/regions/{REGION}/subnetworks/n"}],
    "scheduling": {"onHostMaintenance": "TERMINATE"},
    "serviceAccount": {"email": f"llm-{MINE}@{PROJECT}.iam.gserviceaccount.com", "scopes": []},
}


def test_a_good_instance_is_made_and_removed(gcp: Gcp) -> None:
    made = Instance().create(gcp, GOOD)

    assert Instance().read(gcp, made, {}) is not None
    Instance().delete(gcp, made, {})
    assert Instance().read(gcp, made, {}) is None
    assert gcp.store.of("disks") == {}, "its root disk goes with it"


def test_an_instance_that_was_stopped_is_seen_and_started(gcp: Gcp) -> None:
    inputs = GOOD | {"desiredStatus": "RUNNING", "allowStoppingForUpdate": True}
    made = Instance().create(gcp, inputs)
    gcp.store.resources[made]["status"] = "TERMINATED"

    seen = Instance().read(gcp, made, inputs)
    assert seen is not None
    assert (seen["currentStatus"], seen["desiredStatus"]) == ("TERMINATED", "TERMINATED")
    Instance().update(gcp, made, inputs | {"desiredStatus": "TERMINATED"}, inputs)
    assert gcp.store.resources[made]["status"] == "RUNNING"
    assert "desiredStatus" not in (Instance().read(gcp, made, GOOD) or {}), "only on request"


@pytest.mark.parametrize(
    ("key", "before", "after", "replaces"),
    [
        ("terminationTime", "2026-11-21T20:00:00Z", "2026-11-22T20:00:00Z", True),
        ("maxRunDuration", {"seconds": 60}, {"seconds": 90}, True),
        ("provisioningModel", "STANDARD", "SPOT", True),
        ("preemptible", False, True, True),
        ("automaticRestart", True, False, False),
        ("onHostMaintenance", "MIGRATE", "TERMINATE", False),
        ("instanceTerminationAction", "STOP", "DELETE", False),
    ],
)
def test_scheduling_changes_like_in_the_plugin(key: str, before: Any, after: Any, replaces: bool) -> None:
    old, new = GOOD | {"scheduling": {key: before}}, GOOD | {"scheduling": {key: after}}

    (change,) = changes(old, new, Instance.rules.immutable)

    assert change.replaces is replaces


def test_a_change_of_type_without_stock_leaves_the_instance_stopped(gcp: Gcp) -> None:
    inputs = GOOD | {"desiredStatus": "RUNNING", "allowStoppingForUpdate": True}
    made, larger = Instance().create(gcp, inputs), inputs | {"machineType": "g2-standard-8"}
    gcp.store.settings = Settings(out_of_stock=[{"type": "g2-standard-8"}])

    with pytest.raises(CloudError, match=r"Error waiting for starting instance: .* does not have enough resources"):
        Instance().update(gcp, made, inputs, larger)

    assert gcp.store.resources[made]["status"] == "TERMINATED"
    assert gcp.store.resources[made]["machineType"].endswith("g2-standard-8")


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        pytest.param(lambda i: i.update(scheduling={}), "do not support live migration", id="GPU that migrates"),
        pytest.param(
            lambda i: i["scheduling"].update(provisioningModel="SPOT", preemptible=True), "automaticRestart", id="spot"
        ),
        pytest.param(
            lambda i: i["scheduling"].update(maxRunDuration={"seconds": 60}),
            "instanceTerminationAction",
            id="without an action",
        ),
        pytest.param(
            lambda i: i["scheduling"].update(instanceTerminationAction="STOP"),
            "needs provisioningModel",
            id="only an action",
        ),
        pytest.param(
            lambda i: i["scheduling"].update(maxRunDuration={"seconds": 10368001}, instanceTerminationAction="DELETE"),
            "maxRunDuration",
            id="121 days",
        ),
        pytest.param(
            lambda i: i["scheduling"].update(
                terminationTime="2026-01-01T00:00:00Z", instanceTerminationAction="DELETE"
            ),
            "terminationTime",
            id="a time in the past",
        ),
        pytest.param(
            lambda i: i["scheduling"].update(terminationTime="tomorrow", instanceTerminationAction="DELETE"),
            "RFC 3339",
            id="not a time",
        ),
        pytest.param(
            lambda i: i["scheduling"].update(
                maxRunDuration={"seconds": 60},
                terminationTime="2026-01-01T00:00:00Z",
                instanceTerminationAction="DELETE",
            ),
            "goes not with maxRunDuration",
            id="two limits",
        ),
        pytest.param(
            lambda i: i.update(guestAccelerators=[{"type": "nvidia-tesla-t4", "count": 1}]),
            "not compatible",
            id="T4 on G2",
        ),
        pytest.param(lambda i: i.update(zone=f"{REGION}-c"), "does not exist in zone", id="type elsewhere"),
        pytest.param(
            lambda i: i["bootDisk"]["initializeParams"].update(type="pd-standard"), "not compatible", id="disk of G2"
        ),
        pytest.param(
            lambda i: i["bootDisk"]["initializeParams"].update(image="projects/p/global/images/x"), "404", id="image"
        ),
        pytest.param(lambda i: i.update(name="Host_1"), "Must be a match of regex", id="name"),
        pytest.param(lambda i: i.update(labels={"team": "Search"}), "violates format constraints", id="label"),
        pytest.param(lambda i: i["serviceAccount"].update(email="x@y"), "service account 'x@y'", id="account"),
        pytest.param(lambda i: i.update(metadata={"user-data": "x" * 300_000}), "too long", id="metadata"),
    ],
)
def test_what_the_api_refuses_is_refused(gcp: Gcp, change: Change, reported: str) -> None:
    inputs = copy.deepcopy(GOOD)
    change(inputs)

    with pytest.raises(CloudError, match="Error creating instance: googleapi: Error") as caught:
        Instance().create(gcp, inputs)

    assert reported in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        pytest.param({"out_of_stock": [{"zone": ZONE}]}, "does not have enough resources available", id="stock"),
        pytest.param(
            {"quotas": {"NVIDIA_L4_GPUS": 0}}, "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region", id="quota"
        ),
        pytest.param({"quotas": {"GPUS_ALL_REGIONS": 0}}, "Limit: 0.0 globally", id="quota of the project"),
    ],
)
def test_an_error_of_the_operation_is_reported_after_the_call(
    gcp: Gcp, settings: dict[str, Any], reported: str
) -> None:
    gcp.store.settings = Settings(**settings)

    with pytest.raises(CloudError, match="Error waiting for instance to create: ") as caught:
        Instance().create(gcp, GOOD)

    assert reported in str(caught.value)
    assert gcp.store.of("instances") == {}


def test_a_resource_in_use_cannot_be_removed() -> None:
    gcp = Gcp(Store(), PROJECT, REGION)
    instance = make_stack(gcp, MINE)

    for path in list(gcp.store.resources):
        if path != instance and path.split("/")[-2] in (
            "networks",
            "subnetworks",
            "disks",
            "addresses",
            "resourcePolicies",
        ):
            with pytest.raises(CloudError, match="is already being used by"):
                gcp.delete(path, "thing")


def test_a_firewall_rule_has_one_ip_version(gcp: Gcp) -> None:
    body = {"network": f"projects/{PROJECT}/global/networks/n", "sourceRanges": ["203.0.113.0/24", "2001:db8::/48"]}

    with pytest.raises(CloudError, match="both IPv4 and IPv6"):
        gcp.insert(f"projects/{PROJECT}/global/firewalls/f", body, "Firewall")


@pytest.mark.parametrize(
    ("key", "value", "is_good"),
    [
        ("team", "search-1", True),
        ("team", "", True),
        ("Team", "a", False),
        ("1team", "a", False),
        ("team", "a.b", False),
    ],
)
def test_labels_follow_gcp_s_syntax(key: str, value: str, is_good: bool) -> None:
    if is_good:
        names.labels({"labels": {key: value}})
    else:
        with pytest.raises(Refusal):
            names.labels({"labels": {key: value}})
