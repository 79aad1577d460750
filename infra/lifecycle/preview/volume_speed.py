"""How fast the data volume of a stack is, what that costs, and how long reading the weights takes. Asks no cloud."""

from dataclasses import asdict, dataclass
from typing import Any

from catalog.prices import DISK_NAME
from infra.clouds.disk_speed import READING_SHARE, reading_s, reading_words
from infra.clouds.registry import cloud_of
from infra.config import DeploymentConfig


@dataclass(frozen=True, kw_only=True)
class VolumeSpeed:
    """The speed of each host's data volume, and what that speed costs."""

    disk: str
    mib_per_s: int
    iops: int | None
    """None: they depend on the size of the disk."""
    usd_per_month: float | None
    """For one host, in addition to the price of the storage. None: our table has no price for it."""
    reading_s: float | None
    """How long reading the weights takes. None: the name of the model does not show its size."""
    patience_s: int
    """How long a start may take."""

    def words(self) -> str:
        """Return speed and price in words."""
        iops = "" if self.iops is None else f" and {self.iops} IOPS"
        price = "price not known, because our table has none; the sum leaves it out"
        if self.usd_per_month is not None:
            price = f"${self.usd_per_month:.2f} a month more" if self.usd_per_month else "no extra charge"
        return f"{DISK_NAME[self.disk]}, {self.mib_per_s} MiB/s{iops}, {price}"

    def record(self) -> dict[str, Any]:
        """Return it for a result file."""
        return asdict(self)


def volume_speed(config: DeploymentConfig, machine_type: str) -> VolumeSpeed:
    """Return the speed of a stack's data volume on a machine type."""
    volume = cloud_of(config.cloud).data_volume(config, machine_type)
    return VolumeSpeed(
        disk=volume.kind,
        mib_per_s=volume.mib_per_s,
        iops=volume.iops,
        usd_per_month=volume.speed_usd_per_month,
        reading_s=reading_s(config.serving, volume.mib_per_s),
        patience_s=config.serving.ready_timeout_s,
    )


def speed_lines(config: DeploymentConfig, speed: VolumeSpeed) -> list[str]:
    """Return the lines about the data volume that a preview prints."""
    lines = [f"data volume: {speed.words()}"]
    reading = reading_words(config.serving, speed.mib_per_s)
    if reading is not None and speed.reading_s is not None:
        mark = "" if speed.reading_s <= speed.patience_s * READING_SHARE + 1 else "! "
        lines.append(f"{mark}data volume: {reading}")
    return lines
