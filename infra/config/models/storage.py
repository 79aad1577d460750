"""Disks and bucket, and which of them outlive the machines."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import matching, refuse, twice

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
        "arn:aws:kms:ap-northeast-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef, not an alias",
    ),
]


class BucketSpec(Frozen):
    """A private, encrypted bucket from which the machines read models and adapters."""

    name: BucketName | None = Field(default=None, description="Existing bucket. Default: a new bucket.")
    prefix: BucketPrefix = Field(
        default="", description="Folder that the machines may read, e.g. models/. If empty, the whole bucket."
    )
    notices: StrictBool | None = Field(
        default=None,
        description="Whether spot machines may add their last records below notices/ when the cloud takes them back. "
        "Default: only to a new bucket.",
    )


class StorageSpec(Frozen):
    """Disks and bucket in a cloud. A local machine is a folder and has none of these."""

    root_gib: int = Field(default=60, ge=20, le=16384, description="Root disk of each machine, in GiB.")
    data_gib: int | None = Field(
        default=None,
        ge=10,
        le=16384,
        description="Separate volume for models and adapters, in GiB. Default: from the size of the model.",
    )
    data_mib_per_s: int | None = Field(
        default=None,
        ge=125,
        le=1000,
        description="Speed of that volume, in MiB/s. Default: fast enough to read the weights in half of "
        "`serving.ready_timeout_s`.",
    )
    bucket: BucketSpec | None = Field(
        default=None,
        description="Bucket for models and adapters that the machines may read: a mapping, {} for a new bucket.",
    )
    kms_key: KmsKey | None = Field(
        default=None,
        description="ARN of the KMS key for root disks and data volumes that are created from then on. "
        "Default: the account's default key for EBS.",
    )
    keep_on_down: tuple[Literal["data_volume", "bucket"], ...] = Field(
        default=(), description="Resources that `down` keeps. It prints what they cost."
    )

    @model_validator(mode="after")
    def _nothing_kept_twice(self) -> Self:
        refuse(twice(self.keep_on_down, "keep_on_down"))
        return self
