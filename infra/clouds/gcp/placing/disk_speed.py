"""The read speed of a data disk on GCP. Pure; speeds in MiB/s.

The speed of a balanced disk grows with its size; a Hyperdisk is created with a set speed.
"""

import math
from dataclasses import dataclass

from catalog.gcp_shapes import disk_type
from catalog.machines import find_machine
from infra.clouds.disk_speed import STEP_MIB_PER_S, DataVolume, needed_mib_per_s
from infra.config import DeploymentConfig

BALANCED, HYPERDISK = "pd-balanced", "hyperdisk-balanced"

BASE_MIB_PER_S = 140
"""The base speed of a balanced disk of any size, and the free default of Hyperdisk."""

MIB_PER_S_PER_GIB = 0.28
"""Speed that each GiB of a balanced disk adds (cloud.google.com/compute/docs/disks/performance)."""

OF_MACHINE = ((16, 1200), (8, 800), (0, 240))
"""The most that machines read from balanced disks, by least number of vCPUs (same page, N2; others are close)."""

HYPERDISK_IOPS, HYPERDISK_IOPS_PER_MIB, HYPERDISK_MOST_MIB_PER_S = 3000, 4, 2400
"""Limits of Hyperdisk Balanced (cloud.google.com/compute/docs/disks/hd-types/hyperdisk-balanced)."""


@dataclass(frozen=True)
class ProvisionedSpeed:
    """The speed of a Hyperdisk above the free default."""

    mib_per_s: int
    iops: int


def provisioned_speed(config: DeploymentConfig, machine_type: str) -> ProvisionedSpeed | None:
    """Return the speed that a data disk is created with; None for types without one, or if the base is enough."""
    needed = needed_mib_per_s(config.serving) or 0.0
    if disk_type(machine_type) != HYPERDISK or needed <= BASE_MIB_PER_S:
        return None
    asked = min(math.ceil(needed / STEP_MIB_PER_S) * STEP_MIB_PER_S, HYPERDISK_MOST_MIB_PER_S)
    return ProvisionedSpeed(asked, max(HYPERDISK_IOPS, HYPERDISK_IOPS_PER_MIB * asked))


def least_gib(config: DeploymentConfig) -> int:
    """Return the least size at which a balanced disk is as fast as the start needs; 0 if size does not matter.

    Not larger than the machine's own read speed requires.
    """
    needed = needed_mib_per_s(config.serving) or 0.0
    if _is_hyperdisk(config) or needed <= BASE_MIB_PER_S:
        return 0
    return math.ceil((min(needed, _machine_limit(str(config.machine.type))) - BASE_MIB_PER_S) / MIB_PER_S_PER_GIB)


def data_volume(config: DeploymentConfig, size_gib: int, machine_type: str) -> DataVolume:
    """Return the data disk of each host. The price tables do not have the speed of a Hyperdisk."""
    made = provisioned_speed(config, machine_type)
    return DataVolume(
        kind=disk_type(machine_type),
        mib_per_s=mib_per_s(config, size_gib, machine_type),
        iops=made.iops if made else None,
        speed_usd_per_month=None if made else 0.0,
    )


def mib_per_s(config: DeploymentConfig, size_gib: int, machine_type: str | None = None) -> int:
    """Return the read speed of a data disk of this size, on the stack's first machine type unless another is given."""
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
