"""Quotas of GCP compared with a stack's needs: processors, GPUs (on demand and spot separate), disks, addresses."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from catalog.gcp_shapes import WITH_ACCELERATOR, disk_type, family
from catalog.machines import Machine, find_machine
from infra.clouds.finding import Finding
from infra.clouds.gcp.api.client import ask, everywhere
from infra.clouds.gcp.api.labels import ID
from infra.clouds.gcp.placing.replacements import RUNNING
from infra.clouds.sizes import data_gib, gateway_root_gib
from infra.config import DeploymentConfig
from infra.config.models.pool import machine_key
from infra.config.rules.gateway_machine import gateway_type
from infra.contract.stack_placement import Placement

GPU_METRICS = {
    "T4": "NVIDIA_T4_GPUS",
    "L4": "NVIDIA_L4_GPUS",
    "A100-40GB": "NVIDIA_A100_GPUS",
    "A100-80GB": "NVIDIA_A100_80GB_GPUS",
    "H100": "NVIDIA_H100_GPUS",
}
"""Quotas of a region by GPU of the catalog; those of the spot market have the prefix PREEMPTIBLE_."""

CPU_METRICS = {"n1": "CPUS", "e2": "CPUS", "n2": "N2_CPUS", "c3": "C3_CPUS"}
"""Quotas of a region by family. Families with GPUs are limited by GPU quotas."""

SPOT = "PREEMPTIBLE_"

EVERY_REGION = "GPUS_ALL_REGIONS"
CPUS_EVERY_REGION = "CPUS_ALL_REGIONS"

DISKS, ADDRESSES = "SSD_TOTAL_GB", "STATIC_ADDRESSES"

COUNTED_DISK = "pd-balanced"
"""The only disk type of a stack that DISKS limits; Hyperdisk has separate quotas."""

CONSOLE = "https://console.cloud.google.com/iam-admin/quotas?project={}"


def quota_findings(config: DeploymentConfig, placement: Placement | None) -> Iterator[Finding]:
    """Yield whether the quotas allow the stack's needs beside the usage of others; its own usage is not counted."""
    rows = {pool: find_machine("gcp", str(each.type)) for pool, each in config.machines.items()}
    machines = {pool: row for pool, row in rows.items() if row is not None}
    if len(machines) < len(rows):
        return  # their needs are unknown
    limits, own = _limits(config), own_share(config, placement) if placement else Counter[str]()
    asked = wanted(machines, config)
    for metric, amount in asked.items():
        yield _compare(config, limits.get(metric), metric, amount, own[metric])
    yield from _of_spot(config, machines, limits.get(EVERY_REGION))
    yield from _fallbacks(config, machines, limits, own)


def _of_spot(config: DeploymentConfig, machines: Mapping[str, Machine], quota: Any) -> Iterator[Finding]:
    """Yield a warning for spot GPUs in a project that has no GPU over all regions.

    Google's documentation counts spot GPUs apart. People report that such a project gets none of them either
    (github.com/gcloudrig/gcloudrig/issues/44), so this is not known to fail.
    """
    counts = [
        row.gpu_count * config.machines[pool].count
        for pool, row in machines.items()
        if config.machines[pool].market == "spot" and row.gpu is not None
    ]
    if not counts or quota is None or quota.limit:
        return
    found = _compare(config, quota, EVERY_REGION, sum(counts), 0)
    yield Finding("warning", found.about, f"{found.what}; spot GPUs may need it, too", found.hint)


def wanted(machines: Mapping[str, Machine], config: DeploymentConfig) -> Counter[str]:
    """Return how much of each quota all hosts of a stack need, if those of each pool are of these types."""
    total = Counter[str]()
    for pool, view in config.by_pool.items():
        machine, share = machines[pool], _of_machine(machines[pool], is_spot=view.machine.market == "spot")
        share[ADDRESSES] = 1
        if disk_type(machine.type) == COUNTED_DISK:
            share[DISKS] = view.storage.root_gib + data_gib(view)
        total += Counter({metric: amount * view.machine.count for metric, amount in share.items()})
    return total + _of_gateway(config)


def _of_gateway(config: DeploymentConfig) -> Counter[str]:
    """Return how much of each quota the gateway's own machine needs; nothing for a stack without one."""
    machine = find_machine("gcp", gateway_type(config) or "")
    if machine is None:
        return Counter()
    share = _of_machine(machine, is_spot=False)
    share[ADDRESSES] = 1
    if disk_type(machine.type) == COUNTED_DISK:
        share[DISKS] = gateway_root_gib(config)
    return share


def own_share(config: DeploymentConfig, placement: Placement) -> Counter[str]:
    """Return this stack's usage of each quota: all of its needs if it is complete, a part after a failed `up`."""
    total = Counter[str]()
    for each in _own(config, placement, "Instances", "instances"):
        machine = _machine_of(each)
        if each.status in RUNNING and machine is not None:
            total += _of_machine(machine, is_spot=each.scheduling.provisioning_model == "SPOT")
    for each in _own(config, placement, "Disks", "disks"):
        if str(each.type_).rpartition("/")[2] == COUNTED_DISK:
            total[DISKS] += int(each.size_gb)
    total[ADDRESSES] += len(_own(config, placement, "Addresses", "addresses"))
    return total


def _own(config: DeploymentConfig, placement: Placement, client: str, key: str) -> list[Any]:
    """Return a stack's resources of a kind in its region."""
    found = everywhere(client, str(config.project), key, f'labels.{ID} = "{placement.id}"')
    return [each for place, each in found if config.region in (place, place.rpartition("-")[0])]


def _machine_of(instance: Any) -> Machine | None:
    """Return the catalog's row of an instance; None if it has none."""
    name = str(instance.machine_type).rpartition("/")[2]
    # GCP lists the built-in GPUs of a family here too; the catalog's row has none.
    beside = [str(each.accelerator_type).rpartition("/")[2] for each in instance.guest_accelerators]
    rows = (find_machine("gcp", each) for each in (*(f"{name}{WITH_ACCELERATOR}{gpu}" for gpu in beside), name))
    return next((row for row in rows if row is not None), None)


def _of_machine(machine: Machine, *, is_spot: bool) -> Counter[str]:
    """Return how much of each quota one machine takes, without its disks and address."""
    share = Counter({CPUS_EVERY_REGION: machine.vcpus})
    metric = CPU_METRICS.get(family(machine.type))
    if metric is not None:
        # Spot machines count in PREEMPTIBLE_CPUS only if the project has such a quota; else in these.
        share[metric] = machine.vcpus
    if machine.gpu is not None:
        share[(SPOT if is_spot else "") + GPU_METRICS[machine.gpu.name]] = machine.gpu_count
        if not is_spot:
            share[EVERY_REGION] = machine.gpu_count
    return share


def _fallbacks(
    config: DeploymentConfig, machines: Mapping[str, Machine], limits: Mapping[str, Any], own: Counter[str]
) -> Iterator[Finding]:
    """Yield the fallbacks that the quotas do not allow: the search for stock would fail at such a fallback."""
    stated = wanted(machines, config)
    fallbacks = [(pool, *each) for pool, machine in config.machines.items() for each in enumerate(machine.fallbacks)]
    for pool, index, name in fallbacks:
        machine = find_machine("gcp", name)
        asked = wanted({**machines, pool: machine}, config) if machine is not None else Counter[str]()
        for metric, amount in asked.items():
            found = _compare(config, limits.get(metric), metric, amount, own[metric])
            if found.level == "error" and stated[metric] != amount:
                about = f"{machine_key(pool)}.fallbacks[{index}] ({name}): {found.about}"
                yield Finding("warning", about, found.what, f"leave it out, or {found.hint}")


def _limits(config: DeploymentConfig) -> dict[str, Any]:
    """Return the quotas by metric: those of the region, and the project's quotas over all regions."""
    region = ask("Regions", "get", project=config.project, region=config.region)
    project = ask("Projects", "get", project=config.project)
    over_all = [each for each in project.quotas if each.metric in (EVERY_REGION, CPUS_EVERY_REGION)]
    return {str(each.metric): each for each in (*region.quotas, *over_all)}


def _compare(config: DeploymentConfig, quota: Any, metric: str, asked: int, own: int) -> Finding:
    """Return whether a quota allows the request beside the usage of others."""
    where = "all regions" if metric in (EVERY_REGION, CPUS_EVERY_REGION) else config.region
    about = f"quota {metric} ({where})"
    if quota is None:
        return Finding("warning", about, "is not reported by the API", f"see {CONSOLE.format(config.project)}")
    used = max(0, quota.usage - own)
    what = f"{quota.limit:g}, {used:g} in use, {asked:g} needed"
    if used + asked <= quota.limit:
        return Finding("ok", about, what)
    hint = f"ask for {used + asked:g} at {CONSOLE.format(config.project)}&metric={metric}"
    return Finding("error", about, what, hint)
