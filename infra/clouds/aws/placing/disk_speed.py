"""The speed of a data volume on AWS, and its cost. Pure; speeds in MiB/s."""

import math
from dataclasses import dataclass

from catalog.prices import IOPS_ITEM, THROUGHPUT_ITEM, item_usd
from infra.clouds.disk_speed import STEP_MIB_PER_S, DataVolume, needed_mib_per_s
from infra.config import DeploymentConfig

GP3 = "gp3"

GP3_MIB_PER_S, GP3_IOPS = 125, 3000
"""Default of a gp3 volume, included in its price (docs.aws.amazon.com: EBS, General Purpose SSD volumes)."""

GP3_MOST_MIB_PER_S = 1000
"""The maximum that every region accepts; AWS began to accept more in 2025."""

IOPS_PER_MIB = 4
"""IOPS that gp3 requires for each MiB/s."""


@dataclass(frozen=True)
class DiskSpeed:
    """The speed that a gp3 volume is created with."""

    mib_per_s: int
    iops: int


def gp3_speed(config: DeploymentConfig) -> DiskSpeed:
    """Return the speed of a data volume: `storage.data_mib_per_s`, else the speed that the engine's start needs."""
    asked = config.storage.data_mib_per_s
    if asked is None:
        needed = needed_mib_per_s(config.serving) or 0.0
        rounded = math.ceil(needed / STEP_MIB_PER_S) * STEP_MIB_PER_S
        asked = min(max(rounded, GP3_MIB_PER_S), GP3_MOST_MIB_PER_S)
    return DiskSpeed(asked, max(GP3_IOPS, IOPS_PER_MIB * asked))


def data_volume(config: DeploymentConfig) -> DataVolume:
    """Return the data volume of each host."""
    speed = gp3_speed(config)
    usd = _speed_usd(speed, str(config.region))
    return DataVolume(kind=GP3, mib_per_s=speed.mib_per_s, iops=speed.iops, speed_usd_per_month=usd)


def _speed_usd(speed: DiskSpeed, region: str) -> float | None:
    """Return the monthly cost of a speed above the default, in USD; None if the price tables do not have it."""
    if speed == DiskSpeed(GP3_MIB_PER_S, GP3_IOPS):
        return 0.0
    per_gib, per_iops = (item_usd("aws", region, each) for each in (THROUGHPUT_ITEM, IOPS_ITEM))
    if per_gib is None or per_iops is None:
        return None
    return (speed.mib_per_s - GP3_MIB_PER_S) / 1024 * per_gib + (speed.iops - GP3_IOPS) * per_iops
