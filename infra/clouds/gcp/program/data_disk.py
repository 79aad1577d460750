"""The disk for models and adapters: it outlives the instance, so that a new one does not fetch 100 GB again."""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.clouds.gcp.api.labels import KEEP
from infra.clouds.gcp.api.names import DATA_SUFFIX
from infra.clouds.gcp.placing.disk_speed import ProvisionedSpeed

DEVICE_NAME = "llm-data"
"""On the host: /dev/disk/by-id/google-llm-data (boot/data-device.sh)."""


@dataclass(frozen=True, kw_only=True)
class DataDiskArgs:
    """Arguments of one disk. Sizes in GiB."""

    physical_name: str
    zone: str
    size_gib: int
    type: str
    speed: ProvisionedSpeed | None
    """None: the type's speed depends on its size."""
    keep: bool
    """Whether `down` keeps it."""


def data_disk(name: str, args: DataDiskArgs, opts: pulumi.ResourceOptions) -> gcp.compute.Disk:
    """Return the disk; a larger size grows it in place. GCP encrypts every disk.

    A smaller size replaces it with an empty disk: Google's plugin replaces a disk that cannot shrink.
    """
    own = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=args.keep or None))
    return gcp.compute.Disk(
        f"{name}-data",
        name=f"{args.physical_name}{DATA_SUFFIX}",
        zone=args.zone,
        size=args.size_gib,
        type=args.type,
        provisioned_throughput=args.speed.mib_per_s if args.speed else None,
        provisioned_iops=args.speed.iops if args.speed else None,
        labels={KEEP: "yes"} if args.keep else None,
        opts=own,
    )
