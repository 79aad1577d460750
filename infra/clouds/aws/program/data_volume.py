"""The disk for models and adapters: it outlives the instance, so that a new one does not fetch 100 GB again."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.clouds.aws.api.tags import KEEP
from infra.clouds.aws.placing.disk_speed import DiskSpeed

DEVICE = "/dev/sdf"
"""Its device name in the API; the host sees an NVMe disk, or /dev/xvdf on old types."""


@dataclass(frozen=True, kw_only=True)
class DataVolumeArgs:
    """Arguments of one volume. Sizes in GiB."""

    zone: str
    size_gib: int
    speed: DiskSpeed
    kms_key: str | None
    """ARN; None: the account's default key for EBS."""
    keep: bool
    """Whether `down` keeps it."""
    blank: bool
    """Whether an existing volume is proven to be empty: a smaller size then replaces it."""


def data_volume(name: str, args: DataVolumeArgs, opts: pulumi.ResourceOptions) -> aws.ebs.Volume:
    """Return the volume. A larger size grows it in place; AWS refuses a smaller one, because it cannot shrink a volume.

    An empty volume is replaced instead, so that an edit after a failed first `up` takes effect.
    """
    # Another key would replace the volume with an empty one, so a changed key is for new volumes only.
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
