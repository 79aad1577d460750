"""What a host may do on GCP: write its logs, read its prefix of one bucket. No more.

Its roles are the limit. Its scopes are those of all that a stack file may ask for, because GCP changes the scopes
of stopped machines only.

A spot machine may also add its last records to one folder of the bucket. It can neither replace nor delete objects.

The gateway's own machine has its own service account, which reads no bucket.

Does not use the project's default service account, which may edit everything.
"""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

LOGS_SCOPE = "https://www.googleapis.com/auth/logging.write"
READING_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
BUCKET_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """Arguments of the identity of hosts."""

    physical_name: str
    account_id: str
    project: str
    bucket: pulumi.Input[str] | None
    bucket_prefix: str
    notice_prefix: str = ""
    """Folder that spot machines may add objects to; empty: none."""
    bucket_scope: bool = False
    """Whether the machines have the scope for buckets, with or without a bucket."""


class Identity(pulumi.ComponentResource):
    """A service account and its roles."""

    email: pulumi.Output[str]
    scopes: tuple[str, ...]

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:gcp:Identity", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        account = gcp.serviceaccount.Account(
            name, account_id=args.account_id, display_name=args.physical_name, opts=mine
        )
        member = account.email.apply(lambda email: f"serviceAccount:{email}")
        logs = gcp.projects.IAMMember(
            f"{name}-logs", project=args.project, role="roles/logging.logWriter", member=member, opts=mine
        )
        self.scopes = (LOGS_SCOPE, BUCKET_SCOPE) if args.bucket_scope else (LOGS_SCOPE,)
        granted: list[pulumi.Output[str]] = [logs.id]
        if args.bucket is not None:
            if not args.bucket_scope:  # a stack of an earlier release: another scope would stop its machines
                self.scopes = (LOGS_SCOPE, READING_SCOPE)
            granted.append(self._may_read(name, args, member).id)
            if args.notice_prefix:
                granted.append(self._may_add_notices(name, args, member).id)
        # A host that starts before its roles exist would fail to fetch its model.
        self.email = pulumi.Output.all(account.email, *granted).apply(lambda values: str(values[0]))
        self.register_outputs({"email": self.email})

    def _may_read(self, name: str, args: IdentityArgs, member: pulumi.Output[str]) -> "gcp.storage.BucketIAMMember":
        bucket = pulumi.Output.from_input(args.bucket).apply(str)
        condition = bucket.apply(lambda each: reading_condition(each, args.bucket_prefix))
        return gcp.storage.BucketIAMMember(
            f"{name}-models",
            bucket=bucket,
            role="roles/storage.objectViewer",
            member=member,
            condition={"title": "models", "expression": condition} if args.bucket_prefix else None,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _may_add_notices(
        self, name: str, args: IdentityArgs, member: pulumi.Output[str]
    ) -> "gcp.storage.BucketIAMMember":
        bucket = pulumi.Output.from_input(args.bucket).apply(str)
        return gcp.storage.BucketIAMMember(
            f"{name}-notices",
            bucket=bucket,
            role="roles/storage.objectCreator",
            member=member,
            condition={
                "title": "notices",
                "expression": bucket.apply(lambda each: folder_condition(each, args.notice_prefix)),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )


def folder_condition(bucket: str, prefix: str) -> str:
    """Return the condition that limits a role to the objects in one folder of a bucket."""
    return f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{prefix}")'


def reading_condition(bucket: str, prefix: str) -> str:
    """Return the condition that limits a role to one folder of a bucket: its objects, and lists of them."""
    lists = f'api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{prefix}")'
    return f"{folder_condition(bucket, prefix)} || {lists}"
