"""The program of cloud `gcp` without the Pulumi engine: its resources, checked by the SDK's names and types."""

import json
from typing import Any

import pytest

from infra.clouds.gcp.api.labels import LABELLED, own_labels, with_labels
from infra.clouds.gcp.program.identity import reading_condition
from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.gcp.seed import PROJECT
from tests.doubles.gcp.table import KINDS
from tests.doubles.provider.schema import resource_schema
from tests.unit.infra.clouds.gcp.deployed import Deployed

INSTANCE = "gcp:compute/instance:Instance"
DISK = "gcp:compute/disk:Disk"


@pytest.mark.parametrize("stack", [each for each in known_stacks() if load_stack(each).cloud == "gcp"])
def test_the_program_makes_the_host_of_each_of_our_stacks(deployed: Deployed, stack: str) -> None:
    config = load_stack(stack)
    zone = f"{config.region}-a"

    (host,) = deployed(config.machine.type, config=config, region=config.region, zone=zone, zones=(zone,)).of(INSTANCE)

    assert host["machineType"] == config.machine.type
    assert host["scheduling"]["provisioningModel"] == {"spot": "SPOT", "on_demand": "STANDARD"}[config.machine.market]


def test_a_host_has_an_end_is_shielded_and_accepts_one_key(deployed: Deployed) -> None:
    (host,) = deployed().of(INSTANCE)

    assert host["scheduling"] == {
        "provisioningModel": "STANDARD",
        "preemptible": False,
        "automaticRestart": True,
        "onHostMaintenance": "MIGRATE",
        "instanceTerminationAction": "DELETE",
        "terminationTime": "2026-11-21T20:00:00Z",
    }
    assert host["shieldedInstanceConfig"] == {
        "enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True,
    }  # fmt: skip
    metadata = host["metadata"]
    assert metadata["block-project-ssh-keys"] == "true"
    assert metadata["ssh-keys"].startswith("ubuntu:ssh-ed25519 ")
    assert metadata["llm-deploy-ends-at"] == "2026-11-21T20:15:00Z", "what is off is never deleted: GCP comes first"
    assert host["desiredStatus"] == "RUNNING", "one that was stopped is started by the next `up`"
    assert "set_host_keys = false" in metadata["user-data"]
    assert host["serviceAccount"]["scopes"] == ["https://www.googleapis.com/auth/logging.write"]


@pytest.mark.parametrize(
    ("machine_type", "accelerators", "disk"),
    [
        ("g2-standard-4", None, "pd-balanced"),
        ("n1-standard-4+nvidia-tesla-t4", [{"type": "nvidia-tesla-t4", "count": 1}], "pd-balanced"),
        ("a2-highgpu-1g", None, "pd-balanced"),
        ("a3-highgpu-8g", None, "hyperdisk-balanced"),
    ],
)
def test_a_gpu_is_requested_in_the_form_of_its_family(
    deployed: Deployed, machine_type: str, accelerators: Any, disk: str
) -> None:
    mocks = deployed(machine_type)

    (host,) = mocks.of(INSTANCE)
    assert host.get("guestAccelerators") == accelerators
    assert host["machineType"] == machine_type.partition("+")[0]
    assert host["scheduling"]["onHostMaintenance"] == "TERMINATE"
    assert host["shieldedInstanceConfig"]["enableSecureBoot"] is False, "drivers are not signed"
    assert host["bootDisk"]["initializeParams"]["type"] == disk
    assert [each["type"] for each in mocks.of(DISK)] == [disk]


def test_a_spot_machine_is_not_restarted(deployed: Deployed) -> None:
    (host,) = deployed("g2-standard-4", machine=", market: spot").of(INSTANCE)

    assert host["scheduling"] == {
        "provisioningModel": "SPOT",
        "preemptible": True,
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
        "instanceTerminationAction": "DELETE",
        "terminationTime": "2026-11-21T20:00:00Z",
    }


def test_the_firewall_opens_two_ports_by_ip_version_for_the_stack_s_account(deployed: Deployed) -> None:
    rules = deployed().of("gcp:compute/firewall:Firewall")

    opening = [each for each in rules if "allows" in each]
    opened = {(each["allows"][0]["ports"][0], *each["sourceRanges"]) for each in opening}
    assert opened == {("22", "198.18.0.7/32"), ("443", "198.18.0.0/24"), ("443", "2001:2::/48")}
    assert {each["targetServiceAccounts"][0] for each in rules} == {"prod-email"}


def test_our_last_rule_refuses_what_an_existing_network_lets_in(deployed: Deployed) -> None:
    """GCP's `default` network lets SSH in from everywhere, with priority 65534; a rule without a number has 1000."""
    rules = deployed(subnets={"asia-northeast3-b": "default"}).of("gcp:compute/firewall:Firewall")

    closing = [each for each in rules if "denies" in each]
    assert {each["sourceRanges"][0]: each["denies"] for each in closing} == {
        "0.0.0.0/0": [{"protocol": "all"}], "::/0": [{"protocol": "all"}],
    }  # fmt: skip
    assert {each["targetServiceAccounts"][0] for each in closing} == {"prod-email"}, "others' machines are theirs"
    opening = {each["priority"] for each in rules if "allows" in each}
    assert max(opening) < min(each["priority"] for each in closing) < 1000


def test_a_bucket_is_private_and_a_host_may_read_its_folder(deployed: Deployed) -> None:
    mocks = deployed(more="storage: {bucket: {prefix: models/}}")

    (bucket,) = mocks.of("gcp:storage/bucket:Bucket")
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["uniformBucketLevelAccess"] is True
    assert bucket["versioning"] == {"enabled": True}
    assert bucket["forceDestroy"] is True
    (grant,) = mocks.of("gcp:storage/bucketIAMMember:BucketIAMMember")
    assert grant["role"] == "roles/storage.objectViewer"
    assert grant["condition"]["expression"] == reading_condition(bucket["name"], "models/")
    roles = {each["role"] for each in mocks.of("gcp:projects/iAMMember:IAMMember")}
    assert roles == {"roles/logging.logWriter"}


@pytest.mark.parametrize("writes", [True, False])
def test_a_spot_host_may_add_its_last_records_if_it_was_made_so(deployed: Deployed, writes: bool) -> None:
    """A change of scopes would stop machines that were made without it."""
    hosts: list[Any] = []
    mocks = deployed(machine=", market: spot", more="storage: {bucket: {}}", writes_notices=writes, hosts=hosts)

    grants = {each["role"]: each for each in mocks.of("gcp:storage/bucketIAMMember:BucketIAMMember")}
    (host,) = mocks.of(INSTANCE)
    scope = "read_write" if writes else "read_only"
    assert f"https://www.googleapis.com/auth/devstorage.{scope}" in host["serviceAccount"]["scopes"]
    assert ("roles/storage.objectCreator" in grants) is writes
    assert ("notice_folder" in hosts[0]) is writes
    if writes:
        (bucket,) = mocks.of("gcp:storage/bucket:Bucket")
        only = grants["roles/storage.objectCreator"]["condition"]["expression"]
        assert only.startswith(f'resource.name.startsWith("projects/_/buckets/{bucket["name"]}/objects/notices/')


WITH_BUCKET = [
    "storage: {bucket: {}}",
    "storage: {bucket: {name: models}}",
    "storage: {bucket: {name: models, notices: true}}",
]


@pytest.mark.parametrize("more", WITH_BUCKET)
def test_a_bucket_and_its_notices_change_no_machine(deployed: Deployed, more: str) -> None:
    """GCP stops a machine to change its scopes, so machines have them all; the roles are the limit."""
    (before,) = deployed(machine=", market: spot", writes_notices=True).of(INSTANCE)
    (after,) = deployed(machine=", market: spot", more=more, writes_notices=True).of(INSTANCE)
    for host in (before, after):
        del host["metadata"]["user-data"]  # it has a new host key, and a running host keeps its own
    assert after == before
    assert before["serviceAccount"]["scopes"][1:] == ["https://www.googleapis.com/auth/devstorage.read_write"]


def test_a_bucket_that_was_kept_can_still_be_emptied(deployed: Deployed) -> None:
    """`down` uses the state of the last `up`: objects must not block the removal of a bucket that is no longer kept."""
    (kept,) = deployed(more="storage: {bucket: {}, keep_on_down: [bucket]}").of("gcp:storage/bucket:Bucket")

    assert kept["forceDestroy"] is True
    assert kept["labels"] == {"llm-deploy-keep": "yes"}


def test_weekly_hours_are_a_schedule_that_expires(deployed: Deployed) -> None:
    weekly = {"days": ["mon", "fri"], "start": "08:30", "stop": "20:00", "time_zone": "Asia/Seoul"}
    mocks = deployed(lifetime={"ttl_hours": 100, "weekly": weekly})

    (schedule,) = mocks.of("gcp:compute/resourcePolicy:ResourcePolicy")
    assert schedule["instanceSchedulePolicy"] == {
        "vmStartSchedule": {"schedule": "30 8 * * MON,FRI"},
        "vmStopSchedule": {"schedule": "0 20 * * MON,FRI"},
        "timeZone": "Asia/Seoul",
        "expirationTime": "2026-11-23T10:55:00Z",
    }
    (host,) = mocks.of(INSTANCE)
    assert host["resourcePolicies"] == "prod-id"
    assert "desiredStatus" not in host, "the schedule stops it"
    assert host["scheduling"]["terminationTime"] == "2026-11-23T10:55:00Z", "before it falls asleep for good"


@pytest.mark.parametrize(
    ("began_at", "ends_at"),
    [("2026-11-21T12:00:00Z", "2026-11-23T10:55:00Z"), ("2026-11-28T12:00:00Z", "2026-11-30T10:55:00Z")],
)
def test_a_new_lifetime_moves_the_end_of_host_and_schedule(deployed: Deployed, began_at: str, ends_at: str) -> None:
    """A schedule that expired with the previous lifetime would never start the hosts of the next."""
    weekly = {"days": ["mon", "fri"], "start": "08:30", "stop": "20:00", "time_zone": "Asia/Seoul"}
    mocks = deployed(lifetime={"ttl_hours": 100, "weekly": weekly}, began_at=began_at)

    (schedule,), (host,) = mocks.of("gcp:compute/resourcePolicy:ResourcePolicy"), mocks.of(INSTANCE)
    assert schedule["instanceSchedulePolicy"]["expirationTime"] == ends_at
    assert host["scheduling"]["terminationTime"] == ends_at


def test_a_budget_warns_by_mail(deployed: Deployed) -> None:
    budget = {"usd_per_month": 99.5, "mail": "team@example.com", "billing_account": "012345-6789AB-CDEF01"}
    mocks = deployed(lifetime={"ttl_hours": 8, "budget": budget})

    (made,) = mocks.of("gcp:billing/budget:Budget")
    assert made["amount"]["specifiedAmount"] == {"currencyCode": "USD", "units": "99", "nanos": 500_000_000}
    (channel,) = mocks.of("gcp:monitoring/notificationChannel:NotificationChannel")
    assert channel["labels"] == {"email_address": "team@example.com"}


def test_an_existing_network_is_used_as_it_is(deployed: Deployed) -> None:
    mocks = deployed(subnets={"asia-northeast3-b": "seoul"})

    assert mocks.of("gcp:compute/network:Network") == []
    (host,) = mocks.of(INSTANCE)
    (interface,) = host["networkInterfaces"]
    assert interface["subnetwork"] == f"projects/{PROJECT}/regions/asia-northeast3/subnetworks/seoul"
    assert "ipv6AccessConfigs" not in interface
    for rule in mocks.of("gcp:compute/firewall:Firewall"):
        assert rule["network"] == f"projects/{PROJECT}/global/networks/shared"


def test_every_host_of_several_is_its_own(deployed: Deployed) -> None:
    mocks = deployed(machine=", count: 3")

    assert mocks.names(INSTANCE) == ["prod-1", "prod-2", "prod-3"]
    assert {each["name"] for each in mocks.of(DISK)} == {f"llm-prod-0123abcd-{number}-data" for number in (1, 2, 3)}
    keys = [each["input"] for each in mocks.of("pulumi:index:Stash")]
    assert len({json.dumps(each) for each in keys}) == 3


def test_labels_reach_every_resource_that_accepts_them() -> None:
    """The table of labelled kinds agrees with the SDK, except for labels with another meaning."""
    taking = {kind.token for kind in KINDS if "labels" in resource_schema(kind.token).input_names}

    assert taking - {"gcp:monitoring/notificationChannel:NotificationChannel"} == LABELLED


def test_a_new_tag_of_the_stack_keeps_the_root_disk() -> None:
    """Labels of a root disk cannot change: the plugin would replace the host for them."""
    props = {"bootDisk": {"initializeParams": {"labels": {"llm-deploy-family": "g2"}}}}

    labelled = with_labels(INSTANCE, props, {"team": "search"} | own_labels("prod", "0123abcd"))

    assert labelled["labels"]["team"] == "search"
    assert labelled["bootDisk"]["initializeParams"]["labels"] == {
        "llm-deploy-family": "g2", "llm-deploy-stack": "prod", "llm-deploy-id": "0123abcd",
    }  # fmt: skip


def test_a_hyperdisk_is_provisioned_for_a_large_model(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its default of 140 MiB/s, 130 GiB take longer than a start may take."""
    (small,) = deployed("a3-highgpu-8g").of(DISK)
    monkeypatch.setattr("infra.clouds.disk_speed.disk_gib", lambda _serving: 130.4)
    (large,) = deployed("a3-highgpu-8g").of(DISK)

    assert "provisionedThroughput" not in small
    assert (large["provisionedThroughput"], large["provisionedIops"]) == (300, 3000)
