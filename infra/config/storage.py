"""What lies on disks and in the bucket, and what of it outlives the machines."""

from typing import Literal

from pydantic import Field

from core.frozen import Frozen


class BucketSpec(Frozen):
    """A private, encrypted bucket for models, adapters and results."""

    name: str | None = Field(default=None, description="Existing bucket; none: one is made.")
    prefix: str = Field(default="", description="Folder in it that the machines may read, e.g. models/; empty: all.")


class StorageSpec(Frozen):
    """Disks and bucket of a cloud deployment; a local machine lies in a folder and has none of these."""

    root_gib: int = Field(default=60, ge=20, le=16384, description="Root disk of each machine, in GiB.")
    data_gib: int | None = Field(
        default=None,
        ge=10,
        le=16384,
        description="Separate volume for models and adapters, in GiB; none: sized from the model.",
    )
    bucket: BucketSpec | None = Field(default=None, description="Bucket for models, adapters and results; none: none.")
    keep_on_down: tuple[Literal["data_volume", "bucket"], ...] = Field(
        default=(), description="What `down` leaves in place, and what it then costs is listed."
    )
