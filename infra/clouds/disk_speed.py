"""How fast a data volume must be read, so that an engine has its weights in memory before its start times out. Pure.

After a boot the page cache is empty: all weights come from the disk. Speeds in MiB/s.
"""

from dataclasses import dataclass

from infra.capacity.memory_need import disk_gib
from serving.spec.models import ServingSpec

READING_SHARE = 0.5
"""Share of `ready_timeout_s` that reading may take. Compiling and capturing graphs also take minutes."""

STEP_MIB_PER_S = 25
"""Speeds are rounded up to a multiple: a slightly larger model does not change a volume."""


@dataclass(frozen=True, kw_only=True)
class DataVolume:
    """The data volume that a cloud makes for each host of a stack."""

    kind: str
    """Its type, as the cloud's API names it, e.g. `gp3`."""
    mib_per_s: int
    iops: int | None
    """None: depends on the size of the disk."""
    speed_usd_per_month: float | None
    """Monthly cost of its speed, beside its storage. None: our tables do not have the price."""


def needed_mib_per_s(serving: ServingSpec) -> float | None:
    """Return how fast the weights must be read; None if the model's name does not give its size."""
    weights = disk_gib(serving)
    return None if weights is None else weights * 1024 / (serving.ready_timeout_s * READING_SHARE)


def reading_s(serving: ServingSpec, mib_per_s: float) -> float | None:
    """Return how long reading the weights takes, in seconds; None if the model's name does not give its size."""
    weights = disk_gib(serving)
    return None if weights is None else weights * 1024 / mib_per_s


def reading_words(serving: ServingSpec, mib_per_s: int) -> str | None:
    """Return in words how long reading the weights takes; None if the model's name does not give its size."""
    seconds, weights = reading_s(serving, mib_per_s), disk_gib(serving)
    if seconds is None or weights is None:
        return None
    return (
        f"{mib_per_s} MiB/s read {weights:.1f} GiB of weights in {seconds:.0f} s of the {serving.ready_timeout_s} s "
        "that a start may take"
    )
