"""How fast a data disk of GCP is read: by its size, or as it is made. Pure; speeds in MiB/s.

Balanced disks are faster the larger they are; Hyperdisk is made with a speed of its own.
"""

import math
from dataclasses import dataclass

from catalog.gcp_shapes import disk_type
from catalog.machines import find_machine
from infra.clouds.disk_speed import STEP_MIB_PER_S, DataVolume, needed_mib_per_s
from infra.config import DeploymentConfig

BALANCED, HYPERDISK = "pd-balanced", "hyperdisk-balanced"

BASE_MIB_PER_S = 140
"""What a balanced disk of any size has, and Hyperdisk without a word and without a price."""

MIB_PER_S_PER_GIB = 0.28
"""What each GiB of a balanced disk adds (cloud.google.com/compute/docs/disks/performance)."""

OF_MACHINE = ((16, 1200), (8, 800), (0, 240))
"""Most that machines read from balanced disks, by their least number of vCPUs (same page, N2; others are near it)."""

HYPERDISK_IOPS, HYPERDISK_IOPS_PER_MIB, HYPERDISK_MOST_MIB_PER_S = 3000, 4, 2400
"""Of Hyperdisk Balanced (cloud.google.com/compute/docs/disks/hd-types/hyperdisk-balanced)."""


@dataclass(frozen=True)
class ProvisionedSpeed:
    """What a Hyperdisk is made to give beyond what has no price."""

    mib_per_s: int
    iops: int


def provisioned_speed(config: DeploymentConfig, machine_type: str) -> ProvisionedSpeed | None:
    """Return the speed that a data disk is made with; None for types without one, and where the base is enough."""
    needed = needed_mib_per_s(config.serving) or 0.0
    if disk_type(machine_type) != HYPERDISK or needed <= BASE_MIB_PER_S:
        return None
    asked = min(math.ceil(needed / STEP_MIB_PER_S) * STEP_MIB_PER_S, HYPERDISK_MOST_MIB_PER_S)
    return ProvisionedSpeed(asked, max(HYPERDISK_IOPS, HYPERDISK_IOPS_PER_MIB * asked))


def least_gib(config: DeploymentConfig) -> int:
    """Return the size from which on a balanced disk is as fast as the start needs; 0 where size is not what counts.

    No larger than for the speed that the machine can read.
    """
    needed = needed_mib_per_s(config.serving) or 0.0
    if _is_hyperdisk(config) or needed <= BASE_MIB_PER_S:
        return 0
    return math.ceil((min(needed, _machine_limit(str(config.machine.type))) - BASE_MIB_PER_S) / MIB_PER_S_PER_GIB)


def data_volume(config: DeploymentConfig, size_gib: int, machine_type: str) -> DataVolume:
    """Return the data disk of each host. The price of a Hyperdisk's speed is not in our tables."""
    made = provisioned_speed(config, machine_type)
    return DataVolume(
        kind=disk_type(machine_type),
        mib_per_s=mib_per_s(config, size_gib, machine_type),
        iops=made.iops if made else None,
        speed_usd_per_month=None if made else 0.0,
    )


def mib_per_s(config: DeploymentConfig, size_gib: int, machine_type: str | None = None) -> int:
    """Return how fast a stack's data disk of this size is read, on its first machine type unless another is named."""
    on = machine_type or str(config.machine.type)
    if disk_type(on) == HYPERDISK:
        made = provisioned_speed(config, on)
        return made.mib_per_s if made else BASE_MIB_PER_S
    return int(min(BASE_MIB_PER_S + MIB_PER_S_PER_GIB * size_gib, _machine_limit(on)))


def _is_hyperdisk(config: DeploymentConfig) -> bool:
    return disk_type(str(config.machine.type)) == HYPERDISK


def _machine_limit(machine_type: str) -> int:
    machine = find_machine("gcp", machine_type)
    return next(most for least, most in OF_MACHINE if machine is None or machine.vcpus >= least)
