"""How fast a data volume must be read, so that an engine's start does not end before its weights are in memory. Pure.

A start after a boot finds nothing in the page cache: all weights come from the disk. Speeds in MiB/s.
"""

import math
from dataclasses import dataclass

from infra.capacity.memory_need import disk_gib
from infra.config import DeploymentConfig
from serving.spec.models import ServingSpec

READING_SHARE = 0.5
"""How much of `ready_timeout_s` reading may take. The rest is for what follows: compiling and capturing graphs take
minutes."""

GP3_MIB_PER_S, GP3_IOPS = 125, 3000
"""What a gp3 volume has without a word, and without a price (docs.aws.amazon.com: EBS, General Purpose SSD volumes)."""

GP3_MOST_MIB_PER_S = 1000
"""The most that every region takes; AWS began to take more in 2025."""

IOPS_PER_MIB = 4
"""IOPS that gp3 must have for each MiB/s."""

STEP_MIB_PER_S = 25
"""Speeds are rounded up to a multiple: a model a little larger does not change a volume."""


@dataclass(frozen=True)
class DiskSpeed:
    """What a gp3 volume is made to give."""

    mib_per_s: int
    iops: int


def needed_mib_per_s(serving: ServingSpec) -> float | None:
    """Return how fast the weights must be read; None when the model's name tells no size."""
    weights = disk_gib(serving)
    return None if weights is None else weights * 1024 / (serving.ready_timeout_s * READING_SHARE)


def reading_s(serving: ServingSpec, mib_per_s: float) -> float | None:
    """Return how long reading the weights takes, in seconds; None when the model's name tells no size."""
    weights = disk_gib(serving)
    return None if weights is None else weights * 1024 / mib_per_s


def reading_words(serving: ServingSpec, mib_per_s: int) -> str | None:
    """Return in words how long reading the weights takes; None when the model's name tells no size."""
    seconds, weights = reading_s(serving, mib_per_s), disk_gib(serving)
    if seconds is None or weights is None:
        return None
    return (
        f"{mib_per_s} MiB/s read {weights:.1f} GiB of weights in {seconds:.0f} s of the {serving.ready_timeout_s} s "
        "that a start may take"
    )


def gp3_speed(config: DeploymentConfig) -> DiskSpeed:
    """Return the speed of a data volume on AWS: what the stack file says, else what the start needs."""
    asked = config.storage.data_mib_per_s
    if asked is None:
        needed = needed_mib_per_s(config.serving) or 0.0
        rounded = math.ceil(needed / STEP_MIB_PER_S) * STEP_MIB_PER_S
        asked = min(max(rounded, GP3_MIB_PER_S), GP3_MOST_MIB_PER_S)
    return DiskSpeed(asked, max(GP3_IOPS, IOPS_PER_MIB * asked))
