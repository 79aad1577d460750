"""What lies on disks and in the bucket, and what of it outlives the machines."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.frozen import Frozen
from core.rules import matching, refuse, twice

BucketName = Annotated[
    str,
    matching(
        r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
        "is not a bucket name; write 3 to 63 lower-case letters, digits, - and ., without s3:// or gs://",
    ),
]

BucketPrefix = Annotated[
    str,
    matching(
        r"([\w.-]+/)*",
        "is not a folder of a bucket; write it without a / in front and with one at the end, e.g. models/",
    ),
]


KmsKey = Annotated[
    str,
    matching(
        r"arn:aws:kms:[a-z0-9-]+:\d{12}:key/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})",
        "is not the ARN of a KMS key; write one like "
        "arn:aws:kms:ap-northeast-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef, no alias",
    ),
]


class BucketSpec(Frozen):
    """A private, encrypted bucket that the machines read models and adapters from."""

    name: BucketName | None = Field(default=None, description="Existing bucket; none: one is made.")
    prefix: BucketPrefix = Field(
        default="", description="Folder in it that the machines may read, e.g. models/; empty: all."
    )


class StorageSpec(Frozen):
    """Disks and bucket of a cloud deployment; a local machine lies in a folder and has none of these."""

    root_gib: int = Field(default=60, ge=20, le=16384, description="Root disk of each machine, in GiB.")
    data_gib: int | None = Field(
        default=None,
        ge=10,
        le=16384,
        description="Separate volume for models and adapters, in GiB; none: sized from the model.",
    )
    data_mib_per_s: int | None = Field(
        default=None,
        ge=125,
        le=1000,
        description="Speed of that volume, in MiB/s; none: sized so that the weights are read in half of "
        "`serving.ready_timeout_s`.",
    )
    bucket: BucketSpec | None = Field(
        default=None, description="Bucket for models and adapters, which the machines may read; none: no bucket."
    )
    kms_key: KmsKey | None = Field(
        default=None,
        description="ARN of the KMS key of root disks and data volumes. Counts for disks that are made from then on. "
        "None: the account's default key for EBS.",
    )
    keep_on_down: tuple[Literal["data_volume", "bucket"], ...] = Field(
        default=(), description="What `down` leaves in place, and what it then costs is listed."
    )

    @model_validator(mode="after")
    def _nothing_kept_twice(self) -> Self:
        refuse(twice(self.keep_on_down, "keep_on_down"))
        return self
