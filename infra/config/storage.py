"""What lies on disks and in the bucket, and what of it outlives the machines."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.frozen import Frozen
from core.rules import matching, refuse, twice

BucketName = Annotated[
    str,
    matching(
        r"(?!goog)(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "is no bucket name; write 3 to 63 lower-case letters, digits, - and ., without s3:// or gs://",
    ),
]

BucketPrefix = Annotated[
    str,
    matching(r"([\w.-]+/)*", "is no folder of a bucket; write it with a / at its end and none in front, e.g. models/"),
]


class BucketSpec(Frozen):
    """A private, encrypted bucket for models, adapters and results."""

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
    bucket: BucketSpec | None = Field(
        default=None, description="Bucket for models, adapters and results; none: no bucket."
    )
    keep_on_down: tuple[Literal["data_volume", "bucket"], ...] = Field(
        default=(), description="What `down` leaves in place, and what it then costs is listed."
    )

    @model_validator(mode="after")
    def _nothing_kept_twice(self) -> Self:
        refuse(twice(self.keep_on_down, "keep_on_down"))
        return self
