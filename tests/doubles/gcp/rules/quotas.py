"""Quotas: the share in use, and refusals beyond the limit."""

from typing import TYPE_CHECKING, Any

from tests.doubles.gcp import seed
from tests.doubles.gcp.refusal import Refusal
from tests.doubles.gcp.rules.instances import gpus, is_spot, type_of
from tests.doubles.gcp.store import place, region_of

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store

METRICS = {"nvidia-l4": "NVIDIA_L4_GPUS", seed.T4: "NVIDIA_T4_GPUS", "nvidia-tesla-a100": "NVIDIA_A100_GPUS"}
CPU_METRICS = {"n1": "CPUS", "e2": "CPUS", "n2": "N2_CPUS", "c3": "C3_CPUS"}
SSD = ("pd-balanced", "pd-ssd")
"""Types of disks that SSD_TOTAL_GB limits; Hyperdisk has quotas of its own, which the double does not have."""


def in_use(store: "Store", metric: str, region: str | None) -> float:
    """Return how much of a quota is in use in a region, or everywhere."""
    total = 0.0
    for collection in ("instances", "disks", "addresses"):
        for path, body in store.of(collection).items():
            if region in (None, region_of(path) if collection != "addresses" else place(path)):
                total += _takes(collection, body).get(metric, 0)
    return total


def check_instance(store: "Store", path: str, body: dict[str, Any]) -> None:
    """Raise Refusal, of the operation, for an instance beyond a quota."""
    _check(store, region_of(path), _takes("instances", body), late=True)


def check_disk(store: "Store", path: str, body: dict[str, Any]) -> None:
    """Raise Refusal for a disk beyond the quota."""
    _check(store, region_of(path), _takes("disks", body), late=False)


def check_address(store: "Store", path: str, body: dict[str, Any]) -> None:
    """Raise Refusal for an address beyond the quota."""
    _check(store, place(path), _takes("addresses", body), late=False)


def _check(store: "Store", region: str, asked: dict[str, float], *, late: bool) -> None:
    for metric, amount in asked.items():
        if metric not in store.settings.quotas:
            continue
        everywhere = metric in seed.GLOBAL_QUOTAS
        limit = store.settings.quotas[metric]
        if in_use(store, metric, None if everywhere else region) + amount > limit:
            where = "globally" if everywhere else f"in region {region}"
            message = f"Quota '{metric}' exceeded.  Limit: {limit:.1f} {where}."
            raise Refusal(403, "QUOTA_EXCEEDED", message, late=late)


def _takes(collection: str, body: dict[str, Any]) -> dict[str, float]:
    """Return the share of each quota that one resource uses."""
    if collection == "addresses":
        return {"STATIC_ADDRESSES": 1}
    if collection == "disks":
        return {"SSD_TOTAL_GB": float(body["sizeGb"])} if body["type"] in SSD else {}
    machine_type, (kind, count), spot = type_of(body), gpus(body), is_spot(body)
    vcpus = float(seed.vcpus_of(machine_type))
    taken = {"CPUS_ALL_REGIONS": vcpus}
    metric = CPU_METRICS.get(machine_type.partition("-")[0])
    if metric:
        taken[metric] = vcpus
    if kind in METRICS:
        taken[("PREEMPTIBLE_" if spot else "") + METRICS[kind]] = count
        if not spot:
            taken["GPUS_ALL_REGIONS"] = count
    return taken
