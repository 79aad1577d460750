"""Quotas of AWS against what a stack asks: vCPUs by family and market, public addresses."""

from collections.abc import Iterator

from infra.aws.api import call, pages
from infra.config import DeploymentConfig
from infra.lease import Lease
from infra.machines import find_machine
from infra.preflight import Finding

ADDRESSES = "L-0263D0A3"

GPU_G, GPU_P, STANDARD = "G and VT", "P", "standard"

QUOTAS = {
    ("on_demand", STANDARD): "L-1216C47A",
    ("on_demand", GPU_G): "L-DB2E81BA",
    ("on_demand", GPU_P): "L-417A185B",
    ("spot", STANDARD): "L-34B43A08",
    ("spot", GPU_G): "L-3819A6DF",
    ("spot", GPU_P): "L-7212CCBC",
}
"""Quota codes of EC2, in vCPUs (docs.aws.amazon.com: Amazon EC2 instance type quotas). On-demand and spot are apart."""

RUNNING = ("pending", "running")


def quota_findings(config: DeploymentConfig, region: str, lease: Lease | None) -> Iterator[Finding]:
    """Yield whether the quotas allow what the stack asks beside what runs already."""
    machine = config.machine
    if lease is not None:
        return  # what stands has its share already
    row = find_machine("aws", str(machine.type))
    vcpus = (row.vcpus if row else 0) * machine.count
    family = family_of(str(machine.type))
    used = _used_vcpus(region, machine.market, family)
    what = f"{machine.market.replace('_', '-')} {family} instances"
    yield from _compare(region, QUOTAS[machine.market, family], what, asked=vcpus, used=used, unit="vCPUs")
    held = len(call("ec2", region, "describe_addresses")["Addresses"])
    yield from _compare(region, ADDRESSES, "public addresses", asked=machine.count, used=held, unit="addresses")


def family_of(machine_type: str) -> str:
    """Return which group of quotas a machine type counts in."""
    family = machine_type.partition(".")[0]
    if family.startswith(("g", "vt")):
        return GPU_G
    return GPU_P if family.startswith("p") else STANDARD


def _compare(region: str, code: str, what: str, *, asked: int, used: int, unit: str) -> Iterator[Finding]:
    limit = call("service-quotas", region, "get_service_quota", ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    about = f"quota {code} ({what})"
    if used + asked > limit:
        hint = (
            f"ask for {used + asked}: aws service-quotas request-service-quota-increase --region {region} "
            f"--service-code ec2 --quota-code {code} --desired-value {used + asked}"
        )
        yield Finding("error", about, f"{limit:g} {unit}, {used} in use, {asked} asked", hint)
    else:
        yield Finding("ok", about, f"{limit:g} {unit}, {used} in use, {asked} asked")


def _used_vcpus(region: str, market: str, family: str) -> int:
    """Return the vCPUs of a market and family that run in the region."""
    states = [{"Name": "instance-state-name", "Values": list(RUNNING)}]
    total = 0
    for reservation in pages("ec2", region, "describe_instances", "Reservations", Filters=states):
        for each in reservation["Instances"]:
            is_spot = each.get("InstanceLifecycle") == "spot"
            if is_spot == (market == "spot") and family_of(each["InstanceType"]) == family:
                row, options = find_machine("aws", each["InstanceType"]), each.get("CpuOptions") or {}
                cores, threads = int(options.get("CoreCount", 0)), int(options.get("ThreadsPerCore", 1))
                total += row.vcpus if row else cores * threads
    return total
