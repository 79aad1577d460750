"""A personal login at GCP: its calls count on the stack's project, and a refusal because of that says so."""

from typing import Any

import pytest

from infra.clouds.gcp.api import client
from infra.clouds.gcp.api.quota_project import QuotaProjectError, names_no_project
from infra.clouds.gcp.orphans.resource_kinds import KINDS
from infra.clouds.gcp.orphans.search import find_resources, remove_resources
from infra.clouds.resources.denied_calls import DeniedError
from infra.lifecycle.preflight.checks import findings
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.seed import BILLING_ACCOUNT, PROJECT
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store
from tests.unit.infra.clouds.gcp.made import MINE, make_stack
from tests.unit.infra.clouds.gcp.test_end_of_life import config

WEEKLY = {"start": "08:00", "stop": "20:00", "time_zone": "Asia/Seoul"}


def with_budget() -> Any:
    lifetime = config(100, WEEKLY).lifetime
    budget = {"usd_per_month": 100, "mail": "a@example.com", "billing_account": BILLING_ACCOUNT}
    return config(100, None).model_copy(
        update={"lifetime": type(lifetime).model_validate(lifetime.model_dump() | {"budget": budget})}
    )


@pytest.mark.usefixtures("personal_login")
def test_preflight_passes_with_a_personal_login() -> None:
    """Its 403, `requires a quota project`, was read as a wrong project id, and the other checks did not run."""
    reported = {(each.about, each.level) for each in findings(with_budget(), "prod", None)}

    assert "error" not in {level for _about, level in reported}
    assert {("project", "ok"), ("lifetime.weekly", "ok"), ("lifetime.budget", "ok")} <= reported


def test_a_login_that_may_not_use_the_project_is_refused(personal_login: Store) -> None:
    personal_login.settings = Settings(quota_project="refused")

    found = findings(config(8, None), "prod", None)

    assert {each.about for each in found if each.level == "error"} == {"login"}
    (line,) = [str(each) for each in found if each.level == "error"]
    assert line == (
        f"login: this login lacks serviceusage.services.use on project {PROJECT}; ask for "
        "roles/serviceusage.serviceUsageConsumer, or name a project that you may use: "
        "`gcloud auth application-default set-quota-project PROJECT`"
    )
    assert any(each.about == "machine.type" for each in found) is False, "without the project nothing else is asked"


def test_compute_answers_a_login_that_may_not_use_the_project(personal_login: Store) -> None:
    """Compute needs no quota project: a call that is refused because of one is repeated without it."""
    personal_login.settings = Settings(quota_project="refused")

    assert client.ask("Regions", "get", project=PROJECT, region="asia-northeast3").name == "asia-northeast3"
    assert client.everywhere("Instances", PROJECT, "instances") == []
    assert client.provider_environment(PROJECT) == {}, "the plugin would not go on without it"


def test_orphans_are_found_and_removed_with_a_personal_login(personal_login: Store, gcp: Gcp) -> None:
    personal_login.settings = Settings(quota_project="wanted")
    make_stack(gcp, MINE)

    resources = find_resources(PROJECT, MINE)

    assert {resource.kind for resource in resources} == {kind.name for kind in KINDS}
    remove_resources(resources, sleep=lambda _seconds: None)
    assert find_resources(PROJECT, MINE) == []


@pytest.mark.parametrize("kind", ["budget", "notification channel"])
def test_a_call_without_a_quota_project_does_not_count_as_an_empty_list(personal_login: Store, kind: str) -> None:
    """The 403 was taken for an empty list, and a budget stayed."""
    personal_login.settings = Settings(quota_project="refused")
    (find,) = [each.find for each in KINDS if each.name == kind]

    with pytest.raises(QuotaProjectError, match="lacks serviceusage"):
        list(find(PROJECT, MINE))


@pytest.mark.usefixtures("personal_login")
def test_the_plugin_names_the_project_too() -> None:
    wanted = {"USER_PROJECT_OVERRIDE": "true", "GOOGLE_BILLING_PROJECT": PROJECT}
    assert client.provider_environment(PROJECT) == wanted


@pytest.mark.usefixtures("store")
def test_a_service_account_names_no_project() -> None:
    """It would need a permission on the project that it did not need before."""
    assert client.provider_environment(PROJECT) == {}
    assert not names_no_project(client.credentials())


def test_a_quota_project_of_the_login_stays() -> None:
    from google.oauth2.credentials import Credentials

    without = Credentials("token")  # type: ignore[no-untyped-call]
    with_one = without.with_quota_project("another")
    assert names_no_project(without)
    assert not names_no_project(with_one)


MISSING = "The billingbudgets.googleapis.com API requires a quota project, which is not set by default."


@pytest.mark.parametrize(
    ("message", "error", "hint"),
    [
        (MISSING, QuotaProjectError, f"run `gcloud auth application-default set-quota-project {PROJECT}`"),
        (
            "Compute Engine API has not been used in project 1 before or it is disabled.",
            client.DisabledError,
            "enable the API",
        ),
        ("Permission denied on resource project another.", DeniedError, "ask for the permission"),
    ],
)
def test_each_refusal_has_its_hint(message: str, error: type[DeniedError], hint: str) -> None:
    refusal = client.refused(403, message, "login", PROJECT)

    assert type(refusal) is error
    assert refusal.hint.startswith(hint)
