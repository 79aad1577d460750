"""Preflight for GCP: login, project, APIs, region, types and zones, image, key, network, roles, quotas, price."""

from collections.abc import Iterator

from core.errors import ConfigError, DeployError, UsageError
from infra.clouds.finding import Finding
from infra.clouds.gateway_machine import types_to_look_up
from infra.clouds.gcp.api.client import DisabledError, ask, credentials, policy_of, principal, rest
from infra.clouds.gcp.api.quota_project import QuotaProjectError
from infra.clouds.gcp.placing.candidates import existing_subnet
from infra.clouds.gcp.placing.disk_speed import mib_per_s
from infra.clouds.gcp.placing.images import image_exists, image_name, resolve_image
from infra.clouds.gcp.placing.stock import offered, zones_of
from infra.clouds.gcp.preflight.foreign_rules import open_before_ours
from infra.clouds.gcp.preflight.policies import policy_findings
from infra.clouds.gcp.preflight.quotas import quota_findings
from infra.clouds.gcp.program import priorities
from infra.clouds.preflight.checks import (
    Check,
    bucket_is_there,
    documentation_addresses,
    gateway_offer,
    image_finding,
    login_key_is_there,
    of_each_pool,
    offers,
    price_finding,
    run,
    weekly_hours_are_now,
    zones_are_up,
)
from infra.clouds.preflight.reading_time import reading_finding
from infra.clouds.resources.denied_calls import DeniedError, MissingError
from infra.clouds.sizes import data_gib
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement

COMPUTE_API, PROJECTS_API = "compute.googleapis.com", "cloudresourcemanager.googleapis.com"
BUCKET_API, BILLING_API = "storage.googleapis.com", "cloudbilling.googleapis.com"
APIS = (COMPUTE_API, "iam.googleapis.com", PROJECTS_API)
BUDGET_APIS = ("billingbudgets.googleapis.com", BILLING_API, "monitoring.googleapis.com")
ABOUT_API = "API "

SCHEDULE_ROLE = "roles/compute.instanceAdmin.v1"
SCHEDULE_ROLES = (SCHEDULE_ROLE, "roles/compute.admin", "roles/editor", "roles/owner")
"""Roles that let the account of the Compute Engine service start and stop instances."""

PREDEFINED = "roles/"
"""Prefix of Google's predefined roles. Roles of a project or an organisation may have any permission."""

OTHERS_FIRST = (
    f"it comes before the stack's own rules ({priorities.DENY}): ask its owner to narrow it, or leave network.id out"
)

CURRENCY = "USD"
"""Currency of the budgets; the API accepts only the currency of the billing account."""


def findings(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
    """Return the findings. Raises UsageError without a valid login: no other check could run."""
    found = [Finding("ok", "login", principal(credentials())), *_project(str(config.project))]
    is_there = found[-1].level != "error"
    apis = list(_apis(config)) if is_there else []
    off = {each.about.removeprefix(ABOUT_API) for each in apis if each.level == "error"}
    checks = [
        check for needed, check in _checks(config, stack, placement) if not needed or (is_there and needed not in off)
    ]
    return [*found, *apis, *run(checks, "GCP")]


def _checks(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[tuple[str, Check]]:
    """Return the checks, each with the API that it needs, "" if it needs none."""
    return [
        (COMPUTE_API, lambda: _types(config)),
        (COMPUTE_API, lambda: of_each_pool(config, placement, _image)),
        ("", lambda: login_key_is_there(config, stack)),
        (COMPUTE_API, lambda: _network(config)),
        ("", lambda: documentation_addresses(config)),
        (BUCKET_API, lambda: bucket_is_there(config, lambda name: rest("storage", "GET", f"/storage/v1/b/{name}"))),
        (PROJECTS_API, lambda: _schedule(config)),
        (PROJECTS_API, lambda: policy_findings(config, stack, placement)),
        (BILLING_API, lambda: _budget(config)),
        (COMPUTE_API, lambda: quota_findings(config, placement)),
        ("", lambda: of_each_pool(config, placement, lambda view, _of_pool: _reading(view))),
        ("", lambda: price_finding(config)),
        ("", lambda: weekly_hours_are_now(config, placement)),
    ]


def _project(project: str) -> Iterator[Finding]:
    hint = "write the id of a project that this login may use, see `gcloud projects list`"
    try:
        seen = rest("cloudresourcemanager", "GET", f"/v3/projects/{project}")
    except UsageError:
        raise
    except QuotaProjectError as error:
        yield Finding("error", "login", error.what, error.hint)
        return
    except DisabledError as error:  # the check of the APIs reports that it is not enabled
        yield Finding("warning", "project", f"could not look up {project}: {error.what}", error.hint)
        return
    except (DeniedError, MissingError) as error:  # the same answer for a missing project and for another owner's
        yield Finding("error", "project", f"{project}: {error.what}", hint)
        return
    except DeployError as error:
        yield Finding("warning", "project", f"could not look up {project}: {error.what}", error.hint)
        return
    if seen.get("state") != "ACTIVE":
        yield Finding("error", "project", f"{project} is {str(seen.get('state')).lower()}", hint)
    else:
        yield Finding("ok", "project", project)


def _apis(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether the services are enabled. If the login may not ask, the first use of a service shows it."""
    asked = [*APIS, *([BUCKET_API] if config.storage.bucket else []), *(BUDGET_APIS if config.lifetime.budget else ())]
    for name in asked:
        try:
            state = rest("serviceusage", "GET", f"/v1/projects/{config.project}/services/{name}").get("state")
        except UsageError:
            raise
        except DeployError as error:
            yield Finding("warning", f"{ABOUT_API}{name}", f"could not be queried: {error.what}", error.hint)
            continue
        if state == "ENABLED":
            yield Finding("ok", f"{ABOUT_API}{name}", "is enabled")
        else:
            hint = f"gcloud services enable {name} --project {config.project}"
            yield Finding("error", f"{ABOUT_API}{name}", "is not enabled", hint)


def _types(config: DeploymentConfig) -> Iterator[Finding]:
    project, region = str(config.project), str(config.region)
    try:
        ask("Regions", "get", project=project, region=region)
    except MissingError:
        yield Finding("error", "region", f"GCP has no region {region}", "write one like asia-northeast3")
        return
    yield from zones_are_up(config, zones_of(project, region))
    seen = offered(project, region, types_to_look_up(config))
    yield from offers(config, seen)
    yield from gateway_offer(config, seen)


def _image(config: DeploymentConfig, placement: KnownPlacement | None) -> Iterator[Finding]:
    name = image_name(config.machine.image)
    recorded = placement.image if placement and placement.image_name == name else None
    try:
        path = recorded or resolve_image(name)
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
        return
    yield image_finding(name, path, placement, is_there=image_exists(path), what="does not exist, or is obsolete")


def _reading(config: DeploymentConfig) -> Iterator[Finding]:
    yield from reading_finding(config, mib_per_s(config, data_gib(config)), "raise storage.data_gib")


def _network(config: DeploymentConfig) -> Iterator[Finding]:
    if config.network.id is None:
        return
    try:
        existing_subnet(config)
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
        return
    yield Finding("ok", "network.subnets", f"{config.network.subnets[0]} belongs to {config.network.id}")
    for opening in open_before_ours(str(config.project), config.network.id):
        yield Finding("warning", "network.id", opening, OTHERS_FIRST)


def _schedule(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether GCP's service account may start and stop the hosts for a weekly schedule."""
    if config.lifetime.weekly is None:
        return
    number = str(rest("cloudresourcemanager", "GET", f"/v3/projects/{config.project}")["name"]).rpartition("/")[2]
    agent = f"serviceAccount:service-{number}@compute-system.iam.gserviceaccount.com"
    roles = [each["role"] for each in policy_of(str(config.project)).get("bindings", []) if agent in each["members"]]
    if set(roles) & set(SCHEDULE_ROLES):
        yield Finding("ok", "lifetime.weekly", f"{agent} may start and stop instances")
        return
    own = [role for role in roles if not role.startswith(PREDEFINED)]
    if own:
        what = f"could not check whether {', '.join(own)} lets {agent} start and stop instances"
        hint = "add compute.instances.start and compute.instances.stop to the role"
        yield Finding("warning", "lifetime.weekly", what, hint)
        return
    hint = f"gcloud projects add-iam-policy-binding {config.project} --member {agent} --role {SCHEDULE_ROLE}"
    yield Finding("error", "lifetime.weekly", f"{agent} may not start and stop instances", hint)


def _budget(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether the billing account takes a budget in dollars: `up` would fail late, after all else."""
    budget = config.lifetime.budget
    if budget is None:
        return
    account = rest(
        "cloudbilling", "GET", f"/v1/billingAccounts/{budget.billing_account}", counts_on=str(config.project)
    )
    currency = account.get("currencyCode")
    if currency == CURRENCY:
        yield Finding("ok", "lifetime.budget", f"{budget.billing_account} is charged in {CURRENCY}")
        return
    if not currency:
        what = f"GCP does not say in which currency {budget.billing_account} is charged; a budget must be in {CURRENCY}"
        yield Finding("warning", "lifetime.budget", what, "look it up in the console, under Billing")
        return
    what = f"{budget.billing_account} is charged in {currency}, and accepts no budget in {CURRENCY}"
    yield Finding("error", "lifetime.budget", what, "leave it out, and set one in the console")
