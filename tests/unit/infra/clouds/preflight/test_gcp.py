"""Preflight on GCP: all problems at once, each with its fix."""

from collections.abc import Iterator
from typing import Any

import pytest

from catalog.machines import find_machine
from core.errors import UsageError
from infra.clouds.finding import Finding
from infra.clouds.gcp.api import client
from infra.clouds.gcp.preflight.quotas import wanted
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import KnownPlacement
from infra.lifecycle.preflight.checks import findings
from tests.doubles.gcp import seed
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.seed import AGENT, PROJECT
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store
from tests.engine.gcp_stacks import A, B, C, stack_value
from tests.unit.infra.clouds.gcp.conftest import cloud, forget_login, gcp, store
from tests.unit.infra.clouds.gcp.made import MINE, OTHER, PLACEMENT, make_stack
from tests.unit.infra.clouds.pools import behind

__all__ = ["cloud", "gcp", "store"]


@pytest.fixture(autouse=True)
def _state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))


def config(machine: str = "type: e2-standard-8", **more: Any) -> DeploymentConfig:
    return parse_deployment(stack_value(machine) | more, "a test")


def placement(identity: str) -> KnownPlacement:
    return PLACEMENT.model_copy(update={"id": identity})


def found(asked: DeploymentConfig, level: str = "error") -> list[Finding]:
    return [each for each in findings(asked, "prod", None) if each.level == level]


@pytest.mark.usefixtures("store")
def test_without_problems_there_is_no_error_and_a_price() -> None:
    reported = [str(each) for each in found(config(), "ok")]

    assert found(config()) == []
    assert f"login: operator@{PROJECT}.iam.gserviceaccount.com" in reported
    assert "price: $0.363 an hour, $265 a month of 730 h" in reported
    assert any(each.startswith("quota CPUS (asia-northeast3): 72, 0 in use, 8 needed") for each in reported)


WEEKLY = {"ttl_hours": 100, "weekly": {"start": "08:00", "stop": "20:00", "time_zone": "Asia/Seoul"}}
CPU, GPU, SPOT = "type: e2-standard-8", "type: g2-standard-4", "type: g2-standard-4, market: spot"


@pytest.mark.parametrize(
    ("settings", "machine", "more", "reported"),
    [
        pytest.param({"quotas": {"NVIDIA_L4_GPUS": 0}}, GPU, {}, "quota NVIDIA_L4_GPUS", id="on demand"),
        pytest.param({"quotas": {"PREEMPTIBLE_NVIDIA_L4_GPUS": 0}}, SPOT, {}, "quota PREEMPTIBLE_NVIDIA", id="spot"),
        pytest.param({"quotas": {"GPUS_ALL_REGIONS": 0}}, GPU, {}, "quota GPUS_ALL_REGIONS", id="global"),
        pytest.param({"quotas": {"CPUS": 7}}, CPU, {}, "quota CPUS", id="processors"),
        pytest.param({"quotas": {"STATIC_ADDRESSES": 1}}, f"{CPU}, count: 2", {}, "quota STATIC", id="addresses"),
        pytest.param({"disabled": ["compute.googleapis.com"]}, CPU, {}, "API compute", id="API"),
        pytest.param({"agent_may_start": False}, CPU, {"lifetime": WEEKLY}, "lifetime.weekly", id="agent"),
        pytest.param({}, GPU, {"zones": [C]}, "machine.type", id="type elsewhere"),
        pytest.param({}, f"{CPU}, image: projects/ubuntu-os-cloud/global/images/gone", {}, "machine.image", id="image"),
        pytest.param({}, CPU, {"project": "another-project"}, "project", id="project"),
        pytest.param({}, CPU, {"region": "europe-west4", "zones": []}, "region", id="region"),
        pytest.param({}, CPU, {"storage": {"bucket": {"name": "gone"}}}, "storage.bucket.name", id="bucket"),
    ],
)
def test_each_problem_is_one_finding_with_its_fix(
    store: Store, settings: dict[str, Any], machine: str, more: dict[str, Any], reported: str
) -> None:
    store.settings = Settings(**settings)

    (finding,) = found(config(machine, **more))

    assert finding.about.startswith(reported)
    assert finding.hint


GATEWAY: dict[str, Any] = {"gateway": {"machine": {}}}


@pytest.mark.parametrize(
    ("quotas", "more", "reported"),
    [
        pytest.param({}, {}, "", id="nothing"),
        pytest.param({"CPUS": 9}, {}, "quota CPUS (asia-northeast3): 9, 0 in use, 10 needed", id="processors"),
        pytest.param({"STATIC_ADDRESSES": 1}, {}, "quota STATIC_ADDRESSES (asia-northeast3): 1, 0", id="addresses"),
        pytest.param({"SSD_TOTAL_GB": 100}, {}, "quota SSD_TOTAL_GB (asia-northeast3): 100, 0 in use, 110", id="disks"),
        pytest.param({}, {"gateway": {"machine": {"type": "c3-standard-4"}}}, "gateway.machine.type: c3-standard-4 is "
                     "not offered", id="type"),
    ],
)  # fmt: skip
def test_the_gateway_s_machine_is_checked_too(
    store: Store, quotas: dict[str, Any], more: dict[str, Any], reported: str
) -> None:
    store.settings = Settings(quotas={"C3_CPUS": 72} | quotas)

    lines = [str(each) for each in found(config(**(GATEWAY | more)))]

    assert [each[: len(reported)] for each in lines] == ([reported] if reported else [])


def test_the_gateway_s_machine_is_part_of_the_price(store: Store) -> None:
    del store
    (price,) = [each.what for each in found(config(**GATEWAY), "ok") if each.about == "price"]

    assert price == "$0.459 an hour, $335 a month of 730 h"


def test_a_bucket_that_only_hosts_may_read_is_a_warning(store: Store) -> None:
    """It was an error for a login that may not read it, though hosts read it with their service account."""
    store.settings = Settings(denied=["/storage/v1/b/"])
    asked = config(storage={"bucket": {"name": "models-of-ours"}})

    assert found(asked) == []
    assert [each.about for each in found(asked, "warning")] == ["GCP storage /storage/v1/b/models-of-ours"]


@pytest.mark.parametrize(
    ("role", "level"),
    [
        pytest.param("roles/editor", "ok", id="known"),
        pytest.param(f"projects/{PROJECT}/roles/starter", "warning", id="of the project"),
        pytest.param("organizations/1/roles/starter", "warning", id="of the organisation"),
        pytest.param("roles/viewer", "error", id="another"),
    ],
)
def test_a_role_whose_permissions_cannot_be_read_is_a_warning(
    store: Store, monkeypatch: pytest.MonkeyPatch, role: str, level: str
) -> None:
    """A custom role that may start and stop instances, as Google advises, was refused."""
    store.settings = Settings()
    policy = {"bindings": [{"role": role, "members": [AGENT]}]}
    monkeypatch.setattr("infra.clouds.gcp.preflight.checks.policy_of", lambda _project: policy)

    (finding,) = (each for each in found(config(lifetime=WEEKLY), level) if "start and stop instances" in each.what)

    assert finding.about == "lifetime.weekly"
    assert level == "ok" or finding.hint


@pytest.mark.parametrize(
    ("disabled", "more", "reported"),
    [
        pytest.param(
            "iam.googleapis.com", {"zones": [C]},
            ["API iam.googleapis.com", "machine.type", "network.ssh_cidrs[0]", "quota NVIDIA_L4_GPUS"], id="all else",
        ),
        pytest.param(
            "compute.googleapis.com", {"zones": [C], "lifetime": WEEKLY},
            ["API compute.googleapis.com", "network.ssh_cidrs[0]", "lifetime.weekly"], id="what needs no Compute",
        ),
        pytest.param(
            "iam.googleapis.com", {"project": "another-project"}, ["project", "network.ssh_cidrs[0]"],
            id="what needs no project",
        ),
    ],
)  # fmt: skip
def test_one_problem_does_not_hide_independent_ones(
    store: Store, disabled: str, more: dict[str, Any], reported: list[str]
) -> None:
    store.settings = Settings(
        disabled=[disabled], quotas=dict(seed.QUOTAS) | {"NVIDIA_L4_GPUS": 0}, agent_may_start=False
    )
    value = stack_value(GPU)
    network = value["network"] | {"ssh_cidrs": ["203.0.113.7/32"]}

    seen = [each.about.partition(" (")[0] for each in found(config(GPU, network=network, **more))]

    assert seen == reported


SSH = {"allowed": [{"IPProtocol": "tcp", "ports": ["22"]}], "sourceRanges": ["0.0.0.0/0"]}
POLICY_RULE = {
    "action": "allow", "direction": "INGRESS", "priority": 7,
    "match": {"srcIpRanges": ["10.0.0.0/8"], "layer4Configs": [{"ipProtocol": "all"}]},
}  # fmt: skip
OWN_RULE = POLICY_RULE | {"targetServiceAccounts": ["somebody@p"]}
FIRST = "it comes before the stack's own rules (910): ask its owner to narrow it, or leave network.id out"


@pytest.mark.parametrize(
    ("rule", "policy", "order", "reported"),
    [
        pytest.param({"priority": 65534}, {}, "", None, id="of the default network"),
        pytest.param({"priority": 1000}, {}, "", None, id="without a number"),
        pytest.param({"priority": 909}, {}, "", "theirs (priority 909) lets in tcp 22 from 0.0.0.0/0", id="early"),
        pytest.param({"priority": 910}, {}, "", None, id="of two alike the refusal comes first"),
        pytest.param({"priority": 1, "targetTags": ["web"]}, {}, "", None, id="for others"),
        pytest.param({"priority": 1, "disabled": True}, {}, "", None, id="disabled"),
        pytest.param({"priority": 1, "allowed": [], "denied": SSH["allowed"]}, {}, "", None, id="that refuses"),
        pytest.param(
            {"priority": 1000}, {"type": "HIERARCHY", "shortName": "org", "rules": [POLICY_RULE]}, "",
            "org (policy, 7) lets in all any from 10.0.0.0/8", id="of the organisation",
        ),
        pytest.param({"priority": 1000}, {"type": "HIERARCHY", "rules": [OWN_RULE]}, "", None, id="policy for others"),
        pytest.param({"priority": 1000}, {"type": "NETWORK", "rules": [POLICY_RULE]}, "", None, id="policy after ours"),
        pytest.param(
            {"priority": 1000}, {"type": "NETWORK", "shortName": "net", "rules": [POLICY_RULE]},
            "BEFORE_CLASSIC_FIREWALL", "net (policy, 7) lets in all any from 10.0.0.0/8", id="policy before ours",
        ),
    ],
)  # fmt: skip
def test_what_an_existing_network_lets_in_before_our_rules_is_reported(
    gcp: Gcp, rule: dict[str, Any], policy: dict[str, Any], order: str, reported: str | None
) -> None:
    network = f"projects/{PROJECT}/global/networks/shared"
    gcp.insert(network, {"autoCreateSubnetworks": False, "networkFirewallPolicyEnforcementOrder": order}, "Network")
    subnet = f"projects/{PROJECT}/regions/asia-northeast3/subnetworks/seoul"
    gcp.insert(subnet, {"network": network, "ipCidrRange": "10.83.0.0/16"}, "Subnetwork")
    body = {"network": network, "direction": "INGRESS"} | SSH | rule
    gcp.insert(f"projects/{PROJECT}/global/firewalls/theirs", body, "Firewall")
    gcp.store.settings = Settings(policies=[policy] if policy else [])
    value = stack_value()
    asked = config(network=value["network"] | {"id": "shared", "subnets": ["seoul"]})

    assert found(asked) == []
    seen = [str(each) for each in found(asked, "warning") if each.about.startswith("network")]
    assert seen == ([f"network.id: {reported}; {FIRST}"] if reported else [])


@pytest.mark.usefixtures("store")
def test_a_fallback_that_is_not_offered_is_a_warning() -> None:
    asked = config("type: e2-standard-8, fallbacks: [c3-standard-8]")

    assert found(asked) == []
    reported = [str(each) for each in found(asked, "warning") if each.about.startswith("machine.")]
    assert reported == [
        f"machine.fallbacks[0]: c3-standard-8 is not offered in {A}, {B}; choose another type or region"
    ]


def test_the_share_in_use_counts_against_a_quota(store: Store) -> None:
    store.resources[f"projects/{PROJECT}/regions/asia-northeast3/addresses/a"] = {"address": "198.51.100.9"}
    store.settings = Settings(quotas={"STATIC_ADDRESSES": 1})

    (finding,) = found(config())

    assert finding.what == "1, 1 in use, 1 needed"


def test_the_stack_s_own_share_of_a_quota_does_not_count(gcp: Gcp) -> None:
    """A failed `up` leaves a placement and some resources; those of another stack count."""
    make_stack(gcp, MINE)
    gcp.store.settings = Settings(quotas=dict(seed.QUOTAS) | {"CPUS": 8, "CPUS_ALL_REGIONS": 8, "STATIC_ADDRESSES": 1})

    reported = {
        each.about: each for each in findings(config(), "prod", placement(MINE)) if each.about.startswith("quota")
    }
    assert {each.level for each in reported.values()} == {"ok"}
    assert reported["quota CPUS (asia-northeast3)"].what == "8, 0 in use, 8 needed"
    assert reported["quota SSD_TOTAL_GB (asia-northeast3)"].what.startswith("2000, 0 in use")
    others = {each.about for each in findings(config(), "prod", placement(OTHER)) if each.level == "error"}
    regional = {f"quota {metric} (asia-northeast3)" for metric in ("CPUS", "STATIC_ADDRESSES")}
    assert others == {"quota CPUS_ALL_REGIONS (all regions)"} | regional


@pytest.mark.parametrize(
    ("machine", "limit", "reported"),
    [
        pytest.param(f"{SPOT}, count: 2", 0, "0, 0 in use, 2 needed; spot GPUs may need it, too", id="none available"),
        pytest.param(SPOT, 1, None, id="some"),
        pytest.param("type: e2-standard-8, market: spot", 0, None, id="no GPU asked"),
    ],
)
def test_spot_gpus_in_a_project_without_gpus_are_a_warning(
    store: Store, machine: str, limit: int, reported: str | None
) -> None:
    """New projects have no GPUs over all regions. Only the spot quota was checked, and the start of a host failed."""
    store.settings = Settings(quotas=dict(seed.QUOTAS) | {"GPUS_ALL_REGIONS": limit})

    assert found(config(machine)) == []
    warnings = [each for each in found(config(machine), "warning") if "GPUS_ALL_REGIONS" in each.about]

    assert [each.what for each in warnings] == ([reported] if reported else [])
    assert all("ask for 2 at https://console.cloud.google.com/iam-admin/quotas" in each.hint for each in warnings)


def test_a_fallback_beyond_its_quota_is_reported(store: Store) -> None:
    store.settings = Settings(quotas=dict(seed.QUOTAS) | {"N2_CPUS": 4})
    asked = config("type: e2-standard-8, fallbacks: [n2-standard-8]")

    assert found(asked) == []
    (reported,) = [str(each) for each in found(asked, "warning") if "quota" in each.about]
    assert reported.startswith(
        "machine.fallbacks[0] (n2-standard-8): quota N2_CPUS (asia-northeast3): 4, 0 in use, 8 needed; "
        "leave it out, or "
    )


@pytest.mark.parametrize(("machine", "counts"), [("a3-highgpu-8g", False), ("a2-highgpu-1g", True)])
def test_hyperdisk_does_not_count_among_other_disks(machine: str, counts: bool) -> None:
    row = find_machine("gcp", machine)
    assert row is not None

    assert ("SSD_TOTAL_GB" in wanted({"main": row}, config(f"type: {machine}"))) is counts


@pytest.mark.parametrize(
    ("settings", "level", "reported"),
    [
        ({}, "ok", "lifetime.budget: 012345-6789AB-CDEF01 is charged in USD"),
        (
            {"currency": "KRW"}, "error",
            "lifetime.budget: 012345-6789AB-CDEF01 is charged in KRW, and accepts no budget in USD; leave it out, and "
            "set one in the console",
        ),
        (
            {"currency": ""}, "warning",
            "lifetime.budget: GCP does not say in which currency 012345-6789AB-CDEF01 is charged; a budget must "
            "be in USD; look it up in the console, under Billing",
        ),
    ],
)  # fmt: skip
def test_a_budget_needs_an_account_that_is_charged_in_dollars(
    store: Store, settings: dict[str, Any], level: str, reported: str
) -> None:
    store.settings = Settings(**settings)
    budget = {"usd_per_month": 100, "mail": "team@example.com", "billing_account": seed.BILLING_ACCOUNT}

    seen = found(config(lifetime={"ttl_hours": 8, "budget": budget}), level)

    assert [str(each) for each in seen if each.about == "lifetime.budget"] == [reported]


def test_a_billing_account_that_may_not_be_read_is_a_warning(store: Store) -> None:
    budget = {"usd_per_month": 100, "mail": "team@example.com", "billing_account": "000000-000000-000000"}
    store.settings = Settings()

    seen = found(config(lifetime={"ttl_hours": 8, "budget": budget}), "warning")

    assert [each.about for each in seen] == ["GCP cloudbilling /v1/billingAccounts/000000-000000-000000"]


def test_the_fix_for_the_schedule_is_a_command(store: Store) -> None:
    store.settings = Settings(agent_may_start=False)

    (finding,) = found(config(lifetime=WEEKLY))

    assert finding.hint.startswith(f"gcloud projects add-iam-policy-binding {PROJECT} --member {AGENT} --role roles/")


@pytest.fixture
def expired(store: Store) -> Iterator[None]:
    """A login that is no longer accepted."""
    store.settings = Settings(login="expired")
    forget_login()
    yield
    forget_login()


@pytest.mark.usefixtures("expired")
def test_an_expired_login_stops_at_once() -> None:
    with pytest.raises(UsageError, match=r"GCP credentials: .*; log in again: `gcloud auth"):
        found(config())


@pytest.mark.usefixtures("store")
def test_no_login_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    forget_login()
    try:
        with pytest.raises(
            UsageError, match=r"GCP credentials: File /nowhere\.json was not found; log in: `gcloud auth"
        ):
            client.credentials()
    finally:
        forget_login()


@pytest.mark.parametrize(
    ("quotas", "pool", "reported"),
    [
        pytest.param({}, {"type": "g2-standard-4"}, "", id="nothing"),
        pytest.param({"NVIDIA_L4_GPUS": 1}, {"type": "g2-standard-4", "count": 2},
                     "quota NVIDIA_L4_GPUS (asia-northeast3): 1, 0 in use, 2 needed", id="GPUs"),
        pytest.param({"PREEMPTIBLE_NVIDIA_L4_GPUS": 0}, {"type": "g2-standard-4", "market": "spot"},
                     "quota PREEMPTIBLE_NVIDIA_L4_GPUS (asia-northeast3): 0, 0 in use, 1 needed", id="spot GPUs"),
        pytest.param({"CPUS": 17}, {"type": "e2-standard-8"},
                     "quota CPUS (asia-northeast3): 17, 0 in use, 18 needed", id="processors of all pools"),
        pytest.param({"STATIC_ADDRESSES": 2}, {"type": "e2-standard-8"}, "quota STATIC_ADDRESSES", id="addresses"),
        pytest.param({}, {"type": "a2-ultragpu-8g"}, "pools.large.machine.type: a2-ultragpu-8g is not off", id="type"),
        pytest.param({}, {"type": "e2-standard-8", "image": "projects/ubuntu-os-cloud/global/images/gone"},
                     "pools.large.machine.image: ", id="image"),
    ],
)  # fmt: skip
def test_a_pool_is_checked_too(store: Store, quotas: dict[str, Any], pool: dict[str, Any], reported: str) -> None:
    store.settings = Settings(quotas=quotas)

    lines = [str(each) for each in found(config(**behind(large=pool))) if "quota NVIDIA_A100" not in each.about]

    assert [each[: len(reported)] for each in lines] == ([reported] if reported else [])
