"""What a host may do on AWS: read its prefix of one bucket, write its logs, be reached by Session Manager. No more."""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

LOG_RETENTION_DAYS = 30

SESSION_MANAGER_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What the agent needs for sessions. The managed policy AmazonSSMManagedInstanceCore would also let the host read every
parameter of the account."""


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """What the identity of a stack's hosts needs."""

    physical_name: str
    bucket_arn: pulumi.Input[str] | None
    bucket_prefix: str


class Identity(pulumi.ComponentResource):
    """An instance profile, and the log group that it may write."""

    profile_name: pulumi.Output[str]

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Identity", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        logs = aws.cloudwatch.LogGroup(
            name, name=f"/llm-deploy/{args.physical_name}", retention_in_days=LOG_RETENTION_DAYS, opts=mine
        )
        host_name = f"{args.physical_name}-host"
        trusted = json.dumps(trust("ec2.amazonaws.com"))
        role = aws.iam.Role(name, name=host_name, assume_role_policy=trusted, opts=mine)
        policy = pulumi.Output.all(logs=logs.arn, bucket=args.bucket_arn).apply(
            lambda arns: json.dumps(host_policy(arns["logs"], arns["bucket"], args.bucket_prefix))
        )
        allowed = aws.iam.RolePolicy(name, name="host", role=role.name, policy=policy, opts=mine)
        profile = aws.iam.InstanceProfile(name, name=host_name, role=role.name, opts=mine)
        # A host that starts before its policy would fetch its model without permission, and fail.
        self.profile_name = pulumi.Output.all(profile.name, allowed.id).apply(lambda names: str(names[0]))
        self.register_outputs({"profile_name": self.profile_name})


def trust(service: str, **conditions: Any) -> dict[str, Any]:
    """Return who may take a role: one service of AWS."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement | ({"Condition": conditions} if conditions else {})]}


def host_policy(log_group_arn: str, bucket_arn: str | None, prefix: str) -> dict[str, Any]:
    """Return what a host may do."""
    statements: list[dict[str, Any]] = [
        {"Sid": "Sessions", "Effect": "Allow", "Action": list(SESSION_MANAGER_ACTIONS), "Resource": "*"},
        {
            "Sid": "Logs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            "Resource": [log_group_arn, f"{log_group_arn}:*"],
        },
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
    return {"Version": "2012-10-17", "Statement": statements}
