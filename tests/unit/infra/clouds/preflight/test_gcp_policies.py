"""Policies of an organisation on GCP: preflight reports what they would refuse."""

from typing import Any

import pytest

from infra.clouds.finding import Finding
from infra.clouds.gcp.preflight.policies import Constraint, is_location, judge
from infra.contract.stack_placement import KnownPlacement
from infra.lifecycle.preflight.checks import findings
from tests.doubles.gcp.seed import PROJECT
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store
from tests.unit.infra.clouds.gcp.conftest import cloud, store
from tests.unit.infra.clouds.gcp.made import PLACEMENT
from tests.unit.infra.clouds.preflight.test_gcp import CPU, GPU, _state, config

__all__ = ["_state", "cloud", "store"]

ON = {"booleanPolicy": {"enforced": True}}
NOBODY = {"listPolicy": {"allValues": "DENY"}}
POLICY = "organisation policy "


def allowed(*values: str) -> dict[str, Any]:
    return {"listPolicy": {"allowedValues": list(values)}}


def denied(*values: str) -> dict[str, Any]:
    return {"listPolicy": {"deniedValues": list(values)}}


def found(machine: str = CPU, placement: KnownPlacement | None = None, **more: Any) -> list[Finding]:
    return [each for each in findings(config(machine, **more), "prod", placement) if "organisation" in each.about]


REFUSED = [
    ("compute.requireOsLogin", ON, CPU),
    ("compute.requireShieldedVm", ON, GPU),
    ("iam.disableServiceAccountCreation", ON, CPU),
    ("compute.disableVpcExternalIpv6", ON, CPU),
    ("compute.vmExternalIpAccess", NOBODY, CPU),
    ("compute.vmExternalIpAccess", allowed(f"projects/{PROJECT}/zones/z/instances/another"), CPU),
    ("gcp.resourceLocations", allowed("in:us-locations", "europe-west4"), CPU),
    ("gcp.resourceLocations", denied("in:asia-northeast3-locations"), CPU),
    ("compute.trustedImageProjects", allowed("projects/golden-images"), CPU),
    ("compute.trustedImageProjects", denied("is:projects/ubuntu-os-cloud"), CPU),
    ("iam.allowedPolicyMemberDomains", NOBODY, CPU),
    ("gcp.restrictServiceUsage", denied("compute.googleapis.com"), CPU),
    ("gcp.restrictNonCmekServices", denied("is:compute.googleapis.com"), CPU),
]


@pytest.mark.parametrize(
    ("name", "policy", "machine"), REFUSED, ids=[f"{each[0]}-{i}" for i, each in enumerate(REFUSED)]
)
def test_a_policy_that_refuses_a_resource_is_an_error(
    store: Store, name: str, policy: dict[str, Any], machine: str
) -> None:
    """With OS Login enforced, hosts ignored the stack's key; other policies ended `up` half-way."""
    store.settings = Settings(org_policies={name: policy})

    (error,) = [each for each in found(machine) if each.level == "error"]

    assert error.about == f"{POLICY}{name}"
    assert error.hint == f"ask its administrator for an exception for project {PROJECT}"


@pytest.mark.parametrize(
    ("name", "policy", "machine"),
    [
        ("compute.requireShieldedVm", ON, CPU),
        ("compute.requireOsLogin", {"booleanPolicy": {}}, CPU),
        ("compute.vmExternalIpAccess", {"listPolicy": {"allValues": "ALLOW"}}, CPU),
        ("gcp.resourceLocations", allowed("in:asia-locations"), CPU),
        ("gcp.resourceLocations", denied("in:us-locations", "asia"), CPU),
        ("compute.trustedImageProjects", allowed("projects/ubuntu-os-cloud"), CPU),
        ("iam.allowedPolicyMemberDomains", allowed("C01234567"), CPU),
        ("gcp.restrictServiceUsage", denied("bigquery.googleapis.com"), CPU),
    ],
)
def test_a_policy_that_allows_the_resource_is_not_reported(
    store: Store, name: str, policy: dict[str, Any], machine: str
) -> None:
    store.settings = Settings(org_policies={name: policy})
    assert [each.level for each in found(machine)] == ["ok"]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("gcp.resourceLocations", allowed("in:low-carbon-locations")),
        ("compute.trustedImageProjects", allowed("under:organizations/1")),
        ("compute.vmExternalIpAccess", allowed("under:folders/1")),
    ],
)
def test_a_policy_that_only_google_can_evaluate_is_a_warning(store: Store, name: str, policy: dict[str, Any]) -> None:
    store.settings = Settings(org_policies={name: policy})

    warning, ok = found()

    assert (warning.level, warning.about, ok.level) == ("warning", f"{POLICY}{name}", "ok")


def test_a_login_that_may_not_read_policies_gets_the_missing_permission(store: Store) -> None:
    store.settings = Settings(org_policies=None)

    (warning,) = found()

    assert warning.level == "warning"
    assert "compute.requireOsLogin" in warning.what
    assert warning.what.endswith("orgpolicy.policy.get is missing")
    assert warning.hint.startswith("ask for roles/orgpolicy.policyViewer")


def test_an_existing_stack_gets_only_a_warning(store: Store) -> None:
    """Policies apply to new resources, not to existing ones."""
    store.settings = Settings(org_policies={"compute.vmExternalIpAccess": NOBODY})
    assert [each.level for each in found(placement=PLACEMENT)] == ["warning", "ok"]


def test_a_host_that_a_policy_names_may_have_its_address(store: Store) -> None:
    entry = f"projects/{PROJECT}/zones/asia-northeast3-a/instances/llm-prod-{PLACEMENT.id}-1"
    store.settings = Settings(org_policies={"compute.vmExternalIpAccess": allowed(entry)})
    assert [each.level for each in found(placement=PLACEMENT)] == ["ok"]


@pytest.mark.parametrize(
    ("entry", "region", "means"),
    [
        ("asia-northeast3", "asia-northeast3", True),
        ("is:asia-northeast3", "asia-northeast3", True),
        ("asia-northeast3-a", "asia-northeast3", None),
        ("asia", "asia-northeast3", False),
        ("in:asia-northeast3-locations", "asia-northeast3", True),
        ("in:asia-locations", "asia-northeast3", True),
        ("in:asia-northeast1-locations", "asia-northeast3", False),
        ("in:us-locations", "asia-northeast3", False),
        ("in:us-locations", "northamerica-northeast1", None),
        ("in:eu-locations", "europe-west4", None),
    ],
)
def test_locations(entry: str, region: str, means: bool | None) -> None:
    assert is_location(entry, region) is means


def test_a_project_without_an_organisation_refuses_nothing() -> None:
    assert judge(Constraint("a", "b"), {}) == "allowed"
    assert judge(Constraint("a", "b", lambda _entry: False), {"listPolicy": {"allValues": "ALLOW"}}) == "allowed"
