"""Quotas of GCP against what a stack asks: processors, GPUs (on demand and spot apart), disks, addresses."""

from collections.abc import Iterator

from infra.config import DeploymentConfig
from infra.gcp.api import ask
from infra.gcp.shapes import family
from infra.lease import Lease
from infra.machines import Machine, find_machine
from infra.preflight import Finding
from infra.sizes import data_gib

GPU_METRICS = {
    "T4": "NVIDIA_T4_GPUS",
    "L4": "NVIDIA_L4_GPUS",
    "A100-40GB": "NVIDIA_A100_GPUS",
    "A100-80GB": "NVIDIA_A100_80GB_GPUS",
    "H100": "NVIDIA_H100_GPUS",
}
"""Quotas of a region by GPU of our table; those of the spot market have PREEMPTIBLE_ before them."""

CPU_METRICS = {"n1": "CPUS", "e2": "CPUS", "n2": "N2_CPUS", "c3": "C3_CPUS"}
"""Quotas of a region by family. Families that bring GPUs are limited by these."""

SPOT = "PREEMPTIBLE_"

EVERY_REGION = "GPUS_ALL_REGIONS"
CPUS_EVERY_REGION = "CPUS_ALL_REGIONS"

DISKS, ADDRESSES = "SSD_TOTAL_GB", "STATIC_ADDRESSES"

CONSOLE = "https://console.cloud.google.com/iam-admin/quotas?project={}"


def quota_findings(config: DeploymentConfig, lease: Lease | None) -> Iterator[Finding]:
    """Yield whether the quotas allow what the stack asks beside what is in use."""
    machine = find_machine("gcp", str(config.machine.type))
    if lease is not None or machine is None:
        return  # what stands has its share already
    regional, everywhere = wanted(machine, config)
    region = ask("Regions", "get", project=config.project, region=config.region)
    project = ask("Projects", "get", project=config.project)
    yield from _compare(regional, region.quotas, str(config.region), config)
    yield from _compare(everywhere, project.quotas, "all regions", config)


def wanted(machine: Machine, config: DeploymentConfig) -> tuple[dict[str, float], dict[str, float]]:
    """Return what a stack needs of each quota: of its region's, and of the project's over all regions."""
    count, spot = config.machine.count, config.machine.market == "spot"
    gib = (config.storage.root_gib + data_gib(config)) * count
    regional: dict[str, float] = {DISKS: gib, ADDRESSES: count}
    everywhere: dict[str, float] = {CPUS_EVERY_REGION: machine.vcpus * count}
    metric = CPU_METRICS.get(family(machine.type))
    if metric is not None:
        # Spot machines count in PREEMPTIBLE_CPUS only where a project was given some; else in these.
        regional[metric] = machine.vcpus * count
    if machine.gpu is not None:
        gpus = machine.gpu_count * count
        regional[(SPOT if spot else "") + GPU_METRICS[machine.gpu.name]] = gpus
        if not spot:
            everywhere[EVERY_REGION] = gpus
    return regional, everywhere


def _compare(asked: dict[str, float], quotas: object, where: str, config: DeploymentConfig) -> Iterator[Finding]:
    limits = {str(each.metric): each for each in quotas}  # type: ignore[attr-defined]  # a list of Google's own
    for metric, amount in asked.items():
        about = f"quota {metric} ({where})"
        quota = limits.get(metric)
        if quota is None:
            yield Finding("warning", about, "is not told by the API", f"see {CONSOLE.format(config.project)}")
            continue
        what = f"{quota.limit:g}, {quota.usage:g} in use, {amount:g} asked"
        if quota.usage + amount > quota.limit:
            hint = f"ask for {quota.usage + amount:g} at {CONSOLE.format(config.project)}&metric={metric}"
            yield Finding("error", about, what, hint)
        else:
            yield Finding("ok", about, what)
