"""Organisation policies on GCP that would refuse a stack's resources, read before anything is created.

They apply to new resources: for an existing stack they are warnings. The calls use Resource Manager v1, which needs no
further API in the project and knows the constraints below. It does not report an organisation's newer constraints
(`compute.managed.…`, `custom.…`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from catalog.gcp_shapes import secure_boot
from catalog.machines import find_machine
from infra.clouds.finding import Finding
from infra.clouds.gcp.api.client import rest
from infra.clouds.gcp.api.names import gateway_node_name, node_name
from infra.clouds.gcp.placing.images import FAMILIES, image_name
from infra.clouds.program.naming import host_endings, physical_name
from infra.clouds.resources.denied_calls import DeniedError
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

PERMISSION, ROLE = "orgpolicy.policy.get", "roles/orgpolicy.policyViewer"

AT_ONCE = 8

CONTINENTS = ("us", "asia", "europe")
"""Value groups of locations; no region is in two of them (`in:us-locations`)."""

Verdict = Literal["allowed", "denied", "unknown"]
Match = Callable[[str], bool | None]
"""Whether an entry of a list covers the stack's resource; None if its text does not show it."""


@dataclass(frozen=True)
class Constraint:
    """One constraint, and the part of the stack that it would refuse."""

    name: str
    refuses: str
    """The reason why `up` would fail."""
    match: Match | None = None
    """For a list; None if the constraint is only on or off."""


def policy_findings(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> Iterator[Finding]:
    """Yield the policies that refuse the stack's resources, and whether they could be read."""
    wanted = list(_constraints(config, stack, placement))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [pool.submit(_effective, str(config.project), each.name) for each in wanted]
    unasked = []
    level: Literal["warning", "error"] = "warning" if placement is not None and placement.is_complete else "error"
    for constraint, answer in zip(wanted, answers, strict=True):
        try:
            verdict = judge(constraint, answer.result())
        except DeniedError:
            unasked.append(constraint.name)
            continue
        about, where = f"organisation policy {constraint.name}", f"project {config.project}"
        if verdict == "denied":
            yield Finding(level, about, constraint.refuses, f"ask its administrator for an exception for {where}")
        elif verdict == "unknown":
            what = f"may refuse resources of the stack: {constraint.refuses}"
            yield Finding("warning", about, what, f"ask its administrator whether it applies to {where}")
    if unasked:
        what = f"could not be read ({', '.join(unasked)}): the permission {PERMISSION} is missing"
        yield Finding("warning", "organisation policies", what, f"ask for {ROLE}, or ask who has it")
    else:
        yield Finding("ok", "organisation policies", f"{len(wanted)} were read")


def judge(constraint: Constraint, policy: Mapping[str, Any]) -> Verdict:
    """Return whether an effective policy allows the stack's resources."""
    if constraint.match is None:
        return "denied" if policy.get("booleanPolicy", {}).get("enforced") else "allowed"
    listed = policy.get("listPolicy", {})
    if listed.get("allValues") == "DENY":
        return "denied"
    refused = {constraint.match(each) for each in listed.get("deniedValues", [])}
    allowed = {constraint.match(each) for each in listed.get("allowedValues", [])}
    if True in refused or allowed == {False}:
        return "denied"
    if None in refused or (None in allowed and True not in allowed):
        return "unknown"
    return "allowed"


def _effective(project: str, constraint: str) -> Mapping[str, Any]:
    body = {"constraint": f"constraints/{constraint}"}
    policy: Mapping[str, Any] = rest(
        "cloudresourcemanager", "POST", f"/v1/projects/{project}:getEffectiveOrgPolicy", body
    )
    return policy


def _constraints(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> Iterator[Constraint]:
    """Yield the constraints that concern a stack."""
    yield Constraint(
        "compute.requireOsLogin",
        "it enforces OS Login: hosts with it ignore the SSH key of the stack, and GCP refuses hosts without it",
    )
    types = (name for machine in config.machines.values() for name in (str(machine.type), *machine.fallbacks))
    machines = [find_machine("gcp", each) for each in types]
    if any(each is not None and not secure_boot(each) for each in machines):
        yield Constraint(
            "compute.requireShieldedVm",
            "it requires secure boot, which hosts with a GPU cannot have: the NVIDIA driver does not load under it",
        )
    yield Constraint("iam.disableServiceAccountCreation", "it refuses the service account that hosts get")
    if config.network.id is None:
        yield Constraint(
            "compute.disableVpcExternalIpv6", "it refuses IPv6 addresses, which the stack's new network has"
        )
    names = _instances(config, stack, placement)
    yield Constraint(
        "compute.vmExternalIpAccess", "it refuses hosts an external address", lambda entry: _names_host(entry, names)
    )
    yield Constraint(
        "gcp.resourceLocations", f"it refuses {config.region}", lambda entry: is_location(entry, str(config.region))
    )
    for image in dict.fromkeys(f"projects/{_image_project(view)}" for view in config.by_pool.values()):
        yield Constraint(
            "compute.trustedImageProjects", f"it refuses images of {image}", partial(_is_or_under, resource=image)
        )
    yield Constraint(
        "iam.allowedPolicyMemberDomains",
        "it refuses every new member, including the service account of the hosts",
        lambda _customer: True,  # a project's own account counts as its organisation's
    )
    services = ["compute.googleapis.com", *(["storage.googleapis.com"] if config.storage.bucket else [])]
    for name, refuses in (
        ("gcp.restrictServiceUsage", "it refuses the use of"),
        (
            "gcp.restrictNonCmekServices",
            "it requires customer-managed encryption keys (CMEK), which this project does not set, for",
        ),
    ):
        yield Constraint(
            name, f"{refuses} {' and '.join(services)}", lambda entry: entry.removeprefix("is:") in services
        )


def is_location(entry: str, region: str) -> bool | None:
    """Return whether an entry of `gcp.resourceLocations` covers a region; None for a Google group."""
    kind, _colon, name = entry.rpartition(":")
    if kind != "in":
        if name == region:
            return True
        return None if name.startswith(f"{region}-") else False  # one zone of it; a multi-region has no regions in it
    group, continent = name.removesuffix("-locations"), region.partition("-")[0]
    if group in (region, continent):
        return True
    is_other_region = re.fullmatch(r"[a-z]+-[a-z]+\d{1,2}", group) is not None
    is_other_continent = group in CONTINENTS and continent in CONTINENTS
    return False if is_other_region or is_other_continent else None


def _is_or_under(entry: str, resource: str) -> bool | None:
    """Return whether an entry covers a resource; None for a folder or an organisation that may contain it."""
    if entry.startswith("under:"):
        return True if entry == f"under:{resource}" else None
    return entry.removeprefix("is:") == resource


def _names_host(entry: str, names: set[str]) -> bool | None:
    """Return whether an entry of `compute.vmExternalIpAccess` covers one of the hosts."""
    if entry.startswith("under:"):
        return None
    return entry.rpartition("/")[2] in names


def _instances(config: DeploymentConfig, stack: str, placement: Placement | None) -> set[str]:
    """Return the names of the hosts; empty for a stack without an id, which no policy can name."""
    if placement is None:
        return set()
    physical = physical_name(stack, placement)
    names = {
        node_name(physical, ending)
        for pool, machine in config.machines.items()
        for ending in host_endings(pool, machine.count)
    }
    return names if config.gateway.machine is None else names | {gateway_node_name(physical)}


def _image_project(config: DeploymentConfig) -> str:
    name = image_name(config.machine.image)
    if name in FAMILIES:
        return FAMILIES[name][0]
    return name.split("/")[1]
