"""The machines to create: type or size, market, number, image. Does not know prices, quotas or stock."""

from pathlib import Path
from typing import Literal

from pydantic import Field, StrictBool

from core.reading.frozen import Frozen


class MachineSpec(Frozen):
    """The machines of one deployment, all alike."""

    type: str | None = Field(
        default=None, description="Machine type, e.g. g5.xlarge or g2-standard-4 (aws and gcp; local has none)."
    )
    fallbacks: tuple[str, ...] = Field(
        default=(), max_length=8, description="Machine types to try, in this order, if `type` is out of stock."
    )
    memory_gib: float = Field(
        default=6.0,
        ge=1,
        le=4096,
        description="Memory of a local machine, in GiB; enforced. In a cloud, the type sets it.",
    )
    cpus: float = Field(
        default=2.0,
        ge=0.5,
        le=1024,
        description="Processors of a local machine; enforced. In a cloud, the type sets them.",
    )
    disk_gib: float = Field(
        default=60.0,
        ge=4,
        le=16384,
        description="Largest disk of a local machine, in GiB; enforced. It grows with the data and never shrinks.",
    )
    count: int = Field(default=1, ge=1, le=32, description="Number of machines.")
    market: Literal["on_demand", "spot"] = Field(
        default="on_demand", description="spot: cheaper, but the cloud may terminate the machine at any time."
    )
    spot_max_usd_per_hour: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Highest price per machine on the spot market. Default: the on-demand price.",
    )
    drain_on_rebalance: StrictBool = Field(
        default=False,
        description="Send no new requests to a spot machine as soon as AWS recommends to leave it, which may be hours "
        "before its end, or in vain. false: the recommendation is only shown.",
    )
    image: str | None = Field(
        default=None,
        description="debian-12 (local); ubuntu-24.04, ubuntu-22.04, deep-learning (aws, gcp), or the id of an image. "
        "Default: the first of these.",
    )
    cpu_credits: Literal["standard", "unlimited"] | None = Field(
        default=None,
        description="t-types of aws: standard slows down when its credits are used up, unlimited costs more. "
        "Default: standard.",
    )
    identity_file: Path | None = Field(
        default=None,
        description="Private SSH key to use, with its .pub beside it (aws, gcp). Default: a new key for this stack.",
    )
    placement_timeout_s: int = Field(
        default=900,
        ge=60,
        le=7200,
        description="Limit for `up` to try all zones and fallbacks.",
    )
