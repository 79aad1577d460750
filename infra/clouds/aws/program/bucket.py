"""A bucket for models and adapters: private, versioned, encrypted, TLS only; or an existing one, untouched."""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.clouds.aws.api.tags import KEEP

OLD_VERSION_DAYS = 30
"""How long an overwritten or deleted object can be restored."""

UNFINISHED_UPLOAD_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """Arguments of `Bucket`."""

    physical_name: str
    """Unique in all of AWS."""
    partition: str
    """Of AWS."""
    existing_name: str | None = None
    keep: bool = False
    """Whether `down` keeps it."""


class Bucket(pulumi.ComponentResource):
    """The bucket of a stack."""

    arn: pulumi.Output[str]
    name: pulumi.Output[str]

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Bucket", name, None, opts)
        if args.existing_name is not None:
            self.name = pulumi.Output.from_input(args.existing_name)
            self.arn = pulumi.Output.from_input(f"arn:{args.partition}:s3:::{args.existing_name}")
        else:
            self._make(name, args)
        self.register_outputs({"name": self.name})

    def _make(self, name: str, args: BucketArgs) -> None:
        mine = pulumi.ResourceOptions(parent=self, protect=args.keep or None)
        bucket = aws.s3.Bucket(
            name,
            bucket=args.physical_name,
            force_destroy=True,  # `protect` keeps it; this stays in the state, and `down` uses it
            tags={KEEP: "yes"} if args.keep else None,
            opts=mine,
        )
        aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=mine,
        )
        aws.s3.BucketOwnershipControls(
            name, bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=mine
        )
        aws.s3.BucketVersioning(name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=mine)
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.id,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=mine,
        )
        aws.s3.BucketLifecycleConfiguration(name, bucket=bucket.id, rules=[_cleaning()], opts=mine)
        aws.s3.BucketPolicy(
            name, bucket=bucket.id, policy=bucket.arn.apply(lambda arn: json.dumps(tls_only(arn))), opts=mine
        )
        self.name = bucket.id
        self.arn = bucket.arn


def tls_only(bucket_arn: str) -> dict[str, Any]:
    """Return a policy that refuses requests without TLS."""
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _cleaning() -> aws.s3.BucketLifecycleConfigurationRuleArgsDict:
    """Return the rule that removes old versions and unfinished uploads: they are hidden and cost money."""
    return {
        "id": "clean",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "noncurrent_version_expiration": {"noncurrent_days": OLD_VERSION_DAYS},
        "abort_incomplete_multipart_upload": {"days_after_initiation": UNFINISHED_UPLOAD_DAYS},
    }
