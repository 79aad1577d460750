"""What a host may do on AWS: read its prefix of one bucket, and take sessions of Session Manager. Nothing else.

A spot machine may also add its last records to one folder of the bucket. It cannot delete objects.

The gateway's own machine reads no bucket.
"""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.config.models.iam import IamSpec

SESSION_MANAGER_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""The permissions of the SSM agent for sessions. The managed policy AmazonSSMManagedInstanceCore would also let the
host read every parameter of the account."""


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """Arguments of the identity of hosts."""

    role_name: str
    iam: IamSpec
    bucket_arn: pulumi.Input[str] | None
    bucket_prefix: str
    notice_prefix: str = ""
    """Folder that spot machines may add objects to; empty: none."""


class Identity(pulumi.ComponentResource):
    """An instance profile."""

    profile_name: pulumi.Output[str]

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Identity", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        role = bounded_role(name, args.role_name, json.dumps(trust("ec2.amazonaws.com")), args.iam, self)
        policy = pulumi.Output.from_input(args.bucket_arn).apply(
            lambda arn: json.dumps(host_policy(arn, args.bucket_prefix, args.notice_prefix))
        )
        allowed = aws.iam.RolePolicy(name, name="host", role=role.name, policy=policy, opts=mine)
        profile = aws.iam.InstanceProfile(
            name, name=args.role_name, role=role.name, path=args.iam.path, opts=_made_once(self)
        )
        # A host that starts before its policy exists would fail to fetch its model.
        self.profile_name = pulumi.Output.all(profile.name, allowed.id).apply(lambda names: str(names[0]))
        self.register_outputs({"profile_name": self.profile_name})


def bounded_role(
    name: str, role_name: str, trusted: pulumi.Input[str], iam: IamSpec, parent: pulumi.Resource
) -> aws.iam.Role:
    """Return a role with the path and the permissions boundary of the stack file."""
    return aws.iam.Role(
        name,
        name=role_name,
        assume_role_policy=trusted,
        path=iam.path,
        permissions_boundary=iam.permissions_boundary,
        opts=_made_once(parent),
    )


def _made_once(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return options that keep the original path: a replacement with the same name cannot exist beside the old one."""
    return pulumi.ResourceOptions(parent=parent, ignore_changes=["path"])


def trust(service: str, **conditions: Any) -> dict[str, Any]:
    """Return the trust policy of a role: one service of AWS may assume it."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement | ({"Condition": conditions} if conditions else {})]}


def host_policy(bucket_arn: str | None, prefix: str, notice_prefix: str = "") -> dict[str, Any]:
    """Return the permissions of a host."""
    statements: list[dict[str, Any]] = [
        {"Sid": "Sessions", "Effect": "Allow", "Action": list(SESSION_MANAGER_ACTIONS), "Resource": "*"},
    ]
    if bucket_arn is not None:
        listing: dict[str, Any] = {
            "Sid": "ListModels",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn,
        }
        if prefix:
            listing["Condition"] = {"StringLike": {"s3:prefix": f"{prefix}*"}}
        reading = {
            "Sid": "ReadModels",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": f"{bucket_arn}/{prefix}*",
        }
        statements += [listing, reading]
        if notice_prefix:
            adding = {"Action": "s3:PutObject", "Resource": f"{bucket_arn}/{notice_prefix}*"}
            statements.append({"Sid": "AddNotices", "Effect": "Allow", **adding})
    return {"Version": "2012-10-17", "Statement": statements}
