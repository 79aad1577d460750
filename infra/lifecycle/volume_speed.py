"""How fast the data volume of a rented stack is, what that costs, and how long it reads the weights. Asks no cloud."""

from dataclasses import asdict, dataclass
from typing import Any

from catalog.gcp_shapes import disk_type
from infra.clouds.disk_speed import READING_SHARE, gp3_speed, reading_s, reading_words
from infra.clouds.gcp.placing.disk_speed import HYPERDISK, mib_per_s, provisioned_speed
from infra.clouds.sizes import data_gib
from infra.clouds.stack_price import speed_usd
from infra.config import DeploymentConfig

NAMES = {"gp3": "gp3", "pd-balanced": "Balanced Persistent Disk", HYPERDISK: "Hyperdisk Balanced"}
"""Types of disks, as the vendors call them."""


@dataclass(frozen=True, kw_only=True)
class VolumeSpeed:
    """What the data volume of each host gives, and what its speed costs."""

    disk: str
    mib_per_s: int
    iops: int | None
    """None: by the size of the disk."""
    usd_per_month: float | None
    """Of one host, beside the price of the storage; None: our table has no price for it."""
    reading_s: float | None
    """How long reading the weights takes; None: the model's name tells no size."""
    patience_s: int
    """How long a start may take."""

    def words(self) -> str:
        """Return speed and price in words."""
        iops = "" if self.iops is None else f" and {self.iops} IOPS"
        price = "whose price is not known: our table has none for it, and the sum leaves it out"
        if self.usd_per_month is not None:
            price = f"${self.usd_per_month:.2f} a month more" if self.usd_per_month else "without a price of its own"
        return f"{NAMES[self.disk]}, {self.mib_per_s} MiB/s{iops}, {price}"

    def record(self) -> dict[str, Any]:
        """Return it for a result file."""
        return asdict(self)


def volume_speed(config: DeploymentConfig, machine_type: str) -> VolumeSpeed:
    """Return the speed of a rented stack's data volume on a machine type."""
    iops: int | None
    if config.cloud == "aws":
        made = gp3_speed(config)
        disk, speed, iops = "gp3", made.mib_per_s, made.iops
    else:
        asked = provisioned_speed(config, machine_type)
        disk, speed = disk_type(machine_type), mib_per_s(config, data_gib(config), machine_type)
        iops = asked.iops if asked else None
    return VolumeSpeed(
        disk=disk,
        mib_per_s=speed,
        iops=iops,
        usd_per_month=speed_usd(config, machine_type),
        reading_s=reading_s(config.serving, speed),
        patience_s=config.serving.ready_timeout_s,
    )


def speed_lines(config: DeploymentConfig, speed: VolumeSpeed) -> list[str]:
    """Return what a person should know of it before `up`, a line each."""
    lines = [f"data volume: {speed.words()}"]
    reading = reading_words(config.serving, speed.mib_per_s)
    if reading is not None and speed.reading_s is not None:
        mark = "" if speed.reading_s <= speed.patience_s * READING_SHARE + 1 else "! "
        lines.append(f"{mark}data volume: {reading}")
    return lines
