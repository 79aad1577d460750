"""What machines are made: type or size, market, number, image. Does not know prices, quotas or what is in stock."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from core.frozen import Frozen


class MachineSpec(Frozen):
    """The machines of one deployment, all alike."""

    type: str | None = Field(
        default=None, description="Machine type, e.g. g5.xlarge or g2-standard-4 (aws and gcp; local has none)."
    )
    fallbacks: tuple[str, ...] = Field(
        default=(), max_length=8, description="Machine types that are tried, in order, when `type` is out of stock."
    )
    memory_gib: float = Field(
        default=6.0, ge=1, le=4096, description="Memory of a local machine, in GiB; enforced. A type brings its own."
    )
    cpus: float = Field(
        default=2.0, ge=0.5, le=1024, description="Processors of a local machine; enforced. A type brings its own."
    )
    disk_gib: float = Field(
        default=60.0,
        ge=4,
        le=16384,
        description="Disk of a local machine, in GiB; enforced. Takes what is written; grows, never shrinks.",
    )
    count: int = Field(default=1, ge=1, le=32, description="How many machines.")
    market: Literal["on_demand", "spot"] = Field(
        default="on_demand", description="spot: cheaper, and the cloud may end it at any time."
    )
    spot_max_usd_per_hour: float | None = Field(
        default=None, gt=0, le=1000, description="Price cap per machine on the spot market; none: the on-demand price."
    )
    image: str | None = Field(
        default=None,
        description="debian-12 (local); ubuntu-24.04, ubuntu-22.04, deep-learning (aws, gcp) or an image's id. "
        "None: the first of these.",
    )
    cpu_credits: Literal["standard", "unlimited"] | None = Field(
        default=None,
        description="t-types of aws: standard slows down when its credits are used up, unlimited costs more. "
        "None: standard.",
    )
    identity_file: Path | None = Field(
        default=None,
        description="Private SSH key to use, its .pub beside it (aws, gcp); none: one is made for this stack.",
    )
    placement_timeout_s: int = Field(
        default=900,
        ge=60,
        le=7200,
        description="How long `up` may take over all zones and fallbacks together.",
    )
