"""The disk for models and adapters: it outlives the instance, so that a new one need not fetch 100 GB again."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.tags import KEEP

DEVICE = "/dev/sdf"
"""How the API names it; on the host it appears as an NVMe disk, or /dev/xvdf on old types."""


@dataclass(frozen=True, kw_only=True)
class DataVolumeArgs:
    """What one volume needs. Sizes in GiB."""

    zone: str
    size_gib: int
    keep: bool
    """Whether `down` leaves it in place."""


def data_volume(name: str, args: DataVolumeArgs, opts: pulumi.ResourceOptions) -> aws.ebs.Volume:
    """Return the volume; a larger size grows it in place, a smaller one is refused by AWS."""
    own = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=args.keep or None))
    return aws.ebs.Volume(
        f"{name}-data",
        availability_zone=args.zone,
        size=args.size_gib,
        type="gp3",
        encrypted=True,
        tags={KEEP: "yes"} if args.keep else None,
        opts=own,
    )
