"""A bucket for models and adapters: private, versioned; or an existing one, untouched.

GCP encrypts the objects, and its libraries send requests with TLS only.
"""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.clouds.gcp.api.labels import KEEP

OLD_VERSION_DAYS = 30
"""How long an overwritten or deleted object can be restored."""

UNFINISHED_UPLOAD_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """Arguments of `Bucket`."""

    physical_name: str
    """Unique in all of GCP."""
    region: str
    existing_name: str | None = None
    keep: bool = False
    """Whether `down` keeps it."""


class Bucket(pulumi.ComponentResource):
    """The bucket of a stack."""

    name: pulumi.Output[str]

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:gcp:Bucket", name, None, opts)
        if args.existing_name is not None:
            self.name = pulumi.Output.from_input(args.existing_name)
        else:
            self.name = self._make(name, args).name
        self.register_outputs({"name": self.name})

    def _make(self, name: str, args: BucketArgs) -> gcp.storage.Bucket:
        return gcp.storage.Bucket(
            name,
            name=args.physical_name,
            location=args.region.upper(),
            force_destroy=True,  # `protect` keeps it; this stays in the state, and `down` uses it
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            soft_delete_policy={"retention_duration_seconds": 0},  # versions do that; both would cost twice
            lifecycle_rules=[
                {"action": {"type": "Delete"}, "condition": {"days_since_noncurrent_time": OLD_VERSION_DAYS}},
                {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": UNFINISHED_UPLOAD_DAYS}},
            ],
            labels={KEEP: "yes"} if args.keep else None,
            opts=pulumi.ResourceOptions(parent=self, protect=args.keep or None),
        )
