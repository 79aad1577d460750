"""The disk for models and adapters: it outlives the instance, so that a new one need not fetch 100 GB again."""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.gcp.labels import KEEP
from infra.gcp.names import DATA_SUFFIX

DEVICE_NAME = "llm-data"
"""On the host: /dev/disk/by-id/google-llm-data (boot/data-device.sh)."""


@dataclass(frozen=True, kw_only=True)
class DataDiskArgs:
    """What one disk needs. Sizes in GiB."""

    physical_name: str
    zone: str
    size_gib: int
    type: str
    keep: bool
    """Whether `down` leaves it in place."""


def data_disk(name: str, args: DataDiskArgs, opts: pulumi.ResourceOptions) -> gcp.compute.Disk:
    """Return the disk; a larger size grows it in place. GCP encrypts every disk.

    A smaller size makes a new, empty disk: the vendor's plugin replaces what cannot shrink.
    """
    own = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=args.keep or None))
    return gcp.compute.Disk(
        f"{name}-data",
        name=f"{args.physical_name}{DATA_SUFFIX}",
        zone=args.zone,
        size=args.size_gib,
        type=args.type,
        labels={KEEP: "yes"} if args.keep else None,
        opts=own,
    )
