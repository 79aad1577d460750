"""The IAM permissions that this project needs on AWS.

python -m infra.clouds.aws.api.permissions            writes the policies into docs/aws.md
"""

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from catalog.aws_partitions import COMMERCIAL
from core.console import say
from core.files import write_atomically
from core.paths import CHECKOUT

SERVICES = {"service-quotas": "servicequotas"}
"""Prefixes of permissions that differ from the service's name in the SDK."""

ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("s3", "HeadBucket"): ("s3:ListBucket",),
    ("s3", "ListBuckets"): ("s3:ListAllMyBuckets",),
    ("s3", "ListObjectVersions"): ("s3:ListBucketVersions",),
    ("s3", "DeleteObjects"): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    ("s3", "DeleteObject"): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    ("s3", "GetPublicAccessBlock"): ("s3:GetBucketPublicAccessBlock",),
    ("s3", "PutPublicAccessBlock"): ("s3:PutBucketPublicAccessBlock",),
    ("s3", "DeletePublicAccessBlock"): ("s3:PutBucketPublicAccessBlock",),
    ("s3", "DeleteBucketOwnershipControls"): ("s3:PutBucketOwnershipControls",),
    ("s3", "GetBucketEncryption"): ("s3:GetEncryptionConfiguration",),
    ("s3", "PutBucketEncryption"): ("s3:PutEncryptionConfiguration",),
    ("s3", "DeleteBucketEncryption"): ("s3:PutEncryptionConfiguration",),
    ("s3", "GetBucketLifecycleConfiguration"): ("s3:GetLifecycleConfiguration",),
    ("s3", "PutBucketLifecycleConfiguration"): ("s3:PutLifecycleConfiguration",),
    ("s3", "DeleteBucketLifecycle"): ("s3:PutLifecycleConfiguration",),
    ("budgets", "CreateBudget"): ("budgets:ModifyBudget",),
    ("budgets", "DeleteBudget"): ("budgets:ModifyBudget",),
    ("budgets", "DescribeBudget"): ("budgets:ViewBudget",),
    ("budgets", "DescribeBudgets"): ("budgets:ViewBudget",),
    ("logs", "ListTagsLogGroup"): ("logs:ListTagsForResource",),
    ("sts", "GetCallerIdentity"): (),  # This call needs no permission.
}
"""Permissions whose name differs from the operation's (Service Authorization Reference)."""


def actions_of(service: str, operation: str) -> tuple[str, ...]:
    """Return the permissions for an operation, e.g. `ec2:DescribeImages` for `ec2` and `DescribeImages`."""
    own = (f"{SERVICES.get(service, service)}:{operation}",)
    return ACTIONS.get((service, operation), own)


ARN = f"arn:{COMMERCIAL}"

LOOK = """
    DescribeAddresses DescribeAddressesAttribute DescribeAvailabilityZones DescribeCarrierGateways
    DescribeEgressOnlyInternetGateways DescribeIamInstanceProfileAssociations DescribeImages DescribeInstanceAttribute
    DescribeInstanceCreditSpecifications DescribeInstanceTypeOfferings DescribeInstanceTypes DescribeInstances
    DescribeInternetGateways DescribeKeyPairs DescribeNatGateways DescribeNetworkAcls DescribeNetworkInterfaces
    DescribePrefixLists DescribeRegions DescribeRouteTables DescribeSecurityGroupRules DescribeSecurityGroups
    DescribeSpotInstanceRequests DescribeSpotPriceHistory DescribeSubnets DescribeTags
    DescribeTransitGatewayVpcAttachments DescribeVolumes DescribeVolumesModifications DescribeVpcAttribute
    DescribeVpcEndpoints DescribeVpcPeeringConnections DescribeVpcs DescribeVpnGateways GetEbsDefaultKmsKeyId
"""

MAKE = """
    AllocateAddress AssignIpv6Addresses AssociateAddress AssociateIamInstanceProfile AssociateRouteTable
    AssociateSubnetCidrBlock AssociateVpcCidrBlock AttachInternetGateway AttachVolume AuthorizeSecurityGroupEgress
    AuthorizeSecurityGroupIngress CreateInternetGateway CreateNetworkInterface CreateRoute CreateRouteTable
    CreateSecurityGroup CreateSubnet CreateTags CreateVolume CreateVpc CreateVpcEndpoint ImportKeyPair
    ModifyInstanceAttribute ModifyInstanceCreditSpecification ModifyInstanceMetadataOptions
    ModifyNetworkInterfaceAttribute ModifySecurityGroupRules ModifySubnetAttribute ModifyVolume ModifyVpcAttribute
    ModifyVpcEndpoint ReplaceIamInstanceProfileAssociation ReplaceRoute RunInstances StartInstances StopInstances
"""

REMOVE = """
    CancelSpotInstanceRequests DeleteInternetGateway DeleteKeyPair DeleteNetworkInterface DeleteRoute DeleteRouteTable
    DeleteSecurityGroup DeleteSubnet DeleteTags DeleteVolume DeleteVpc DeleteVpcEndpoints DetachInternetGateway
    DetachNetworkInterface DetachVolume DisassociateAddress DisassociateIamInstanceProfile DisassociateRouteTable
    DisassociateSubnetCidrBlock DisassociateVpcCidrBlock ReleaseAddress RevokeSecurityGroupEgress
    RevokeSecurityGroupIngress TerminateInstances UnassignIpv6Addresses
"""

ROLES = """
    AddRoleToInstanceProfile CreateInstanceProfile CreateRole DeleteInstanceProfile DeleteRole
    DeleteRolePermissionsBoundary DeleteRolePolicy GetInstanceProfile GetRole GetRolePolicy ListAttachedRolePolicies
    ListInstanceProfilesForRole ListRolePolicies PutRolePermissionsBoundary PutRolePolicy
    RemoveRoleFromInstanceProfile TagInstanceProfile TagRole UntagInstanceProfile UntagRole UpdateAssumeRolePolicy
"""

BUCKETS = """
    CreateBucket DeleteBucket DeleteBucketPolicy DeleteObject DeleteObjectVersion GetAccelerateConfiguration
    GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging GetBucketObjectLockConfiguration
    GetBucketOwnershipControls GetBucketPolicy GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging
    GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration GetLifecycleConfiguration
    GetReplicationConfiguration ListBucket ListBucketVersions ListTagsForResource PutBucketOwnershipControls
    PutBucketPolicy PutBucketPublicAccessBlock PutBucketTagging PutBucketVersioning PutEncryptionConfiguration
    PutLifecycleConfiguration TagResource UntagResource
"""

SCHEDULES = """
    CreateSchedule CreateScheduleGroup DeleteSchedule DeleteScheduleGroup GetSchedule GetScheduleGroup
    ListTagsForResource TagResource UntagResource UpdateSchedule
"""

MAX_POLICY_CHARS = 6144
"""Largest size of a managed policy, without white space (docs.aws.amazon.com: IAM and STS quotas)."""


def policies() -> dict[str, dict[str, Any]]:
    """Return the policies by name: for the program and the commands, and for further calls of the Pulumi plugin."""
    machines = [
        _allow("Look", _of("ec2", LOOK)),
        _allow("Make", _of("ec2", MAKE)),
        _allow("Remove", _of("ec2", REMOVE)),
        _allow("Images", ["ssm:GetParameters"], f"{ARN}:ssm:*::parameter/aws/service/*"),
        _allow("Quotas", ["servicequotas:GetAWSDefaultServiceQuota", "servicequotas:GetServiceQuota"]),
        _allow("Keys", ["kms:DescribeKey", "kms:GetKeyPolicy"]),
        _allow(
            "EncryptDisks",
            ["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"],
            StringLike={"kms:ViaService": "ec2.*.amazonaws.com"},
        ),
        _allow("GrantDisks", ["kms:CreateGrant"], Bool={"kms:GrantIsForAWSResource": "true"}),
    ]
    rest = [
        _allow("LookForRoles", ["iam:GetPolicy", "iam:ListInstanceProfiles", "iam:ListRoles"]),
        _allow("Roles", _of("iam", ROLES), f"{ARN}:iam::*:role/llm-*", f"{ARN}:iam::*:instance-profile/llm-*"),
        _allow(
            "PassRoles",
            ["iam:PassRole"],
            f"{ARN}:iam::*:role/llm-*",
            StringEquals={"iam:PassedToService": ["ec2.amazonaws.com", "scheduler.amazonaws.com"]},
        ),
        _allow(
            "SpotRole",
            ["iam:CreateServiceLinkedRole", "iam:GetRole"],
            f"{ARN}:iam::*:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
        ),
        _allow("LookForBuckets", ["s3:ListAllMyBuckets"]),
        _allow("Buckets", _of("s3", BUCKETS), f"{ARN}:s3:::llm-*"),
        _allow("LookForSchedules", ["scheduler:ListScheduleGroups"]),
        _allow(
            "Schedules",
            _of("scheduler", SCHEDULES),
            f"{ARN}:scheduler:*:*:schedule-group/llm-*",
            f"{ARN}:scheduler:*:*:schedule/llm-*",
        ),
        _allow("LookForLogs", ["logs:DescribeLogGroups"]),
        _allow(
            "OldLogs",
            ["logs:DeleteLogGroup", "logs:ListTagsForResource"],
            f"{ARN}:logs:*:*:log-group:/llm-deploy/*",
        ),
        _allow(
            "Budgets",
            ["budgets:ListTagsForResource", "budgets:ModifyBudget", "budgets:TagResource", "budgets:ViewBudget"],
        ),
    ]
    return {name: {"Version": "2012-10-17", "Statement": each} for name, each in _named(machines, rest)}


def _named(*parts: list[dict[str, Any]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    return zip(("llm-deploy-machines", "llm-deploy-rest"), parts, strict=True)


def allowed() -> set[str]:
    """Return all that the policies allow."""
    return {action for each in policies().values() for statement in each["Statement"] for action in statement["Action"]}


def _of(service: str, names: str) -> list[str]:
    return [f"{service}:{each}" for each in names.split()]


def _allow(sid: str, actions: list[str], *resources: str, **conditions: Any) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources) or "*"}
    return statement | ({"Condition": conditions} if conditions else {})


PAGE = CHECKOUT / "docs" / "aws.md"
BEGIN = "<!-- made by python -m infra.clouds.aws.api.permissions -->\n"
END = "<!-- end of what is made -->\n"
WIDTH = 116


def updated(text: str) -> str:
    """Return the page with the current policies."""
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    blocks = "".join(f"\n`{name}`:\n\n```json\n{_json(policy)}\n```\n" for name, policy in policies().items())
    return f"{before}{BEGIN}{blocks}{END}{after}"


def _json(policy: dict[str, Any]) -> str:
    """Return a policy as JSON whose lists fill their lines."""
    statements = ",\n".join(f"    {{{''.join(_fields(each))}}}" for each in policy["Statement"])
    return f'{{\n  "Version": "{policy["Version"]}",\n  "Statement": [\n{statements}\n  ]\n}}'


def _fields(statement: dict[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(statement.items()):
        text = f'"{key}": {json.dumps(value)}'
        wrapped = textwrap.wrap(text, WIDTH - 8, subsequent_indent=" " * 7, break_on_hyphens=False)
        yield ("" if number == 0 else ",\n     ") + "\n".join(wrapped)


if __name__ == "__main__":
    write_atomically(PAGE, updated(PAGE.read_text()))
    say(str(PAGE))
