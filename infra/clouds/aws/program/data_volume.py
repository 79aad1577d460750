"""The disk for models and adapters: it outlives the instance, so that a new one need not fetch 100 GB again."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.clouds.aws.api.tags import KEEP
from infra.clouds.aws.placing.disk_speed import DiskSpeed

DEVICE = "/dev/sdf"
"""How the API names it; on the host it appears as an NVMe disk, or /dev/xvdf on old types."""


@dataclass(frozen=True, kw_only=True)
class DataVolumeArgs:
    """What one volume needs. Sizes in GiB."""

    zone: str
    size_gib: int
    speed: DiskSpeed
    kms_key: str | None
    """ARN; None: the account's default key for EBS."""
    keep: bool
    """Whether `down` leaves it in place."""
    blank: bool
    """Whether the volume that is there, if any, is proven to hold nothing: another size then makes a new one."""


def data_volume(name: str, args: DataVolumeArgs, opts: pulumi.ResourceOptions) -> aws.ebs.Volume:
    """Return the volume; a larger size grows it in place, a smaller one is refused by AWS.

    AWS cannot shrink a volume. One that is blank is replaced instead, so that an edit after a failed first `up` counts.
    """
    # Another key would be another, empty volume: it counts for volumes that are yet to be made.
    mine = pulumi.ResourceOptions(
        protect=args.keep or None,
        ignore_changes=["kmsKeyId"],
        replace_on_changes=["size"] if args.blank else [],
    )
    own = pulumi.ResourceOptions.merge(opts, mine)
    return aws.ebs.Volume(
        f"{name}-data",
        availability_zone=args.zone,
        size=args.size_gib,
        type="gp3",
        throughput=args.speed.mib_per_s,
        iops=args.speed.iops,
        encrypted=True,
        kms_key_id=args.kms_key,
        tags={KEEP: "yes"} if args.keep else None,
        opts=own,
    )
