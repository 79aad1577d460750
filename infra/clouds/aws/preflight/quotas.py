"""Quotas of AWS compared with a stack's needs: vCPUs by family and market, public addresses, networks."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from catalog.machines import find_machine
from core.errors import DeployError, UsageError
from infra.clouds.aws.api.client import call, pages
from infra.clouds.aws.api.tags import ID
from infra.clouds.finding import Finding
from infra.clouds.resources.denied_calls import MissingError
from infra.config import DeploymentConfig
from infra.config.models.pool import machine_key
from infra.config.rules.gateway_machine import GATEWAY_MARKET, gateway_type
from infra.contract.stack_placement import Placement
from serving.spec.pool_name import MAIN

GPU_G, GPU_P, GPU_P5, STANDARD = "G and VT", "P", "P5", "standard"

VCPU_QUOTAS = {
    ("on_demand", STANDARD): "L-1216C47A",
    ("on_demand", GPU_G): "L-DB2E81BA",
    ("on_demand", GPU_P): "L-417A185B",
    ("on_demand", GPU_P5): "L-417A185B",
    ("spot", STANDARD): "L-34B43A08",
    ("spot", GPU_G): "L-3819A6DF",
    ("spot", GPU_P): "L-7212CCBC",
    ("spot", GPU_P5): "L-C4BD4855",
}
"""Quota codes of EC2, in vCPUs; on-demand and spot are separate (docs.aws.amazon.com: EC2 instance type quotas)."""

STANDARD_FAMILIES = re.compile(r"[acdhimrtz]\d|im4gn|is4gen")
"""Prefixes of the types that AWS counts as standard. Memory (x, u), Inf, Trn, DL, HPC, Mac and F instances have
separate quotas."""

RUNNING = ("pending", "running")


@dataclass(frozen=True)
class Quota:
    """One limit of an account in a region."""

    service: str
    code: str
    what: str
    unit: str


ADDRESSES = Quota("ec2", "L-0263D0A3", "public addresses", "addresses")
NETWORKS = Quota("vpc", "L-F678F1CE", "networks", "VPCs")


def quota_checks(config: DeploymentConfig, placement: Placement | None) -> tuple[Callable[[], Iterator[Finding]], ...]:
    """Return the checks of the quotas, one each: a quota that may not be read does not hide the others.

    The stack's own usage is not counted against it.
    """
    region, own = str(config.region), placement.id if placement else None

    def vcpu_findings() -> Iterator[Finding]:
        others = [each for each in _running(region) if not _is_own(each, own)]
        for quota, asked in wanted_vcpus(config).items():
            yield _compare(region, quota, asked, _used_vcpus(others, quota))
        yield from _fallbacks(config, others)

    def address_findings() -> Iterator[Finding]:
        held = call("ec2", region, "describe_addresses")["Addresses"]
        yield _compare(region, ADDRESSES, config.host_count, _of_others(held, own))

    def network_findings() -> Iterator[Finding]:
        if config.network.id is None:
            networks = pages("ec2", region, "describe_vpcs", "Vpcs")
            yield _compare(region, NETWORKS, 1, _of_others(networks, own))

    return vcpu_findings, address_findings, network_findings


def vcpu_quota(machine_type: str, market: str) -> Quota | None:
    """Return the quota that a machine type counts in; None for a type with a separate quota that no stack uses."""
    family = family_of(machine_type)
    if family is None:
        return None
    return Quota("ec2", VCPU_QUOTAS[market, family], f"{market.replace('_', '-')} {family} instances", "vCPUs")


def family_of(machine_type: str) -> str | None:
    """Return the group of quotas that a machine type counts in; None for types that no stack can use."""
    family = machine_type.partition(".")[0]
    if family.startswith(("g", "vt")):
        return GPU_G
    if family.startswith("p5"):
        return GPU_P5
    if family.startswith("p"):
        return GPU_P
    return STANDARD if STANDARD_FAMILIES.match(family) else None


def wanted_vcpus(config: DeploymentConfig, fallback: str | None = None, pool: str = MAIN) -> dict[Quota, int]:
    """Return the vCPUs that a stack needs in each quota, the first being that of the engines.

    `fallback`: the machine type of `pool`, by default its first type, as that of the other pools.
    """
    asked: list[tuple[str, str, int]] = [
        (str((fallback if name == pool else None) or each.type), each.market, each.count)
        for name, each in config.machines.items()
    ]
    if (own := gateway_type(config)) is not None:
        asked.append((own, GATEWAY_MARKET, 1))
    found: dict[Quota, int] = {}
    for name, market, count in asked:
        quota, row = vcpu_quota(name, market), find_machine("aws", name)
        if quota is not None:
            found[quota] = found.get(quota, 0) + (row.vcpus if row else 0) * count
    return found


def _fallbacks(config: DeploymentConfig, others: Iterable[Any]) -> Iterator[Finding]:
    """Yield the fallbacks that the quotas do not allow: the search for stock would fail at such a fallback."""
    fallbacks = [(pool, *each) for pool, machine in config.machines.items() for each in enumerate(machine.fallbacks)]
    for pool, index, machine_type in fallbacks:
        quota = vcpu_quota(machine_type, config.machines[pool].market)
        if quota is None:
            continue
        asked = wanted_vcpus(config, machine_type, pool)[quota]
        found = _compare(str(config.region), quota, asked, _used_vcpus(others, quota))
        if found.level == "error":
            about = f"{machine_key(pool)}.fallbacks[{index}] ({machine_type}): {found.about}"
            yield Finding("warning", about, found.what, f"leave it out, or {found.hint}")


def _compare(region: str, quota: Quota, asked: int, used: int) -> Finding:
    """Return whether a quota allows the request beside the current usage; a warning if the limit is unknown."""
    about = f"quota {quota.code} ({quota.what})"
    try:
        limit, remark = _limit(region, quota)
    except UsageError:
        raise
    except DeployError as error:
        return Finding("warning", about, f"could not be queried: {error.what}", error.hint)
    what = f"{limit:g} {quota.unit}{remark}, {used} in use, {asked} needed"
    if used + asked <= limit:
        return Finding("ok", about, what)
    command = (
        f"aws service-quotas request-service-quota-increase --region {region} --service-code {quota.service} "
        f"--quota-code {quota.code} --desired-value {used + asked}"
    )
    return Finding("error", about, what, f"ask for {used + asked}: {command}")


def _limit(region: str, quota: Quota) -> tuple[float, str]:
    """Return the account's limit, with a remark if it is AWS's default, for which an account may have no entry."""
    asked = {"ServiceCode": quota.service, "QuotaCode": quota.code}
    try:
        return float(call("service-quotas", region, "get_service_quota", **asked)["Quota"]["Value"]), ""
    except MissingError:
        default = call("service-quotas", region, "get_aws_default_service_quota", **asked)
        return float(default["Quota"]["Value"]), " (AWS's default)"


def _running(region: str) -> Iterator[Any]:
    states = [{"Name": "instance-state-name", "Values": list(RUNNING)}]
    for reservation in pages("ec2", region, "describe_instances", "Reservations", Filters=states):
        yield from reservation["Instances"]


def _used_vcpus(instances: Iterable[Any], quota: Quota) -> int:
    """Return the vCPUs of the instances that count in a quota."""
    total = 0
    for each in instances:
        market = "spot" if each.get("InstanceLifecycle") == "spot" else "on_demand"
        counted = vcpu_quota(each["InstanceType"], market)
        if counted is not None and counted.code == quota.code:
            total += _vcpus_of(each)
    return total


def _vcpus_of(instance: Any) -> int:
    row, options = find_machine("aws", instance["InstanceType"]), instance.get("CpuOptions") or {}
    return row.vcpus if row else int(options.get("CoreCount", 0)) * int(options.get("ThreadsPerCore", 1))


def _of_others(resources: Iterable[Any], own: str | None) -> int:
    return sum(1 for each in resources if not _is_own(each, own))


def _is_own(resource: Any, own: str | None) -> bool:
    return own is not None and {"Key": ID, "Value": own} in (resource.get("Tags") or [])
