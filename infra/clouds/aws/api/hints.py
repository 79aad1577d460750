"""Hints for errors of AWS that the Pulumi engine prints during `up`, where the error itself does not say what to do."""

import re

from infra.clouds.aws.api.refused_login import LOG_IN
from infra.clouds.hints import LEFT_BEHIND, NOT_VISIBLE_YET, TAKEN, Hint, first_hint

MAKE_SPOT_ROLE = "`aws iam create-service-linked-role --aws-service-name spot.amazonaws.com`"
"""The command that an administrator runs once for the account."""

HINTS: tuple[Hint, ...] = (
    (re.compile(r"BucketAlreadyExists\b"), TAKEN),
    (
        re.compile(
            r"EntityAlreadyExists|BucketAlreadyOwnedByYou|InvalidKeyPair\.Duplicate|InvalidGroup\.Duplicate"
            r"|ResourceAlreadyExistsException|InvalidNetworkInterface\.InUse|Schedule\w* \S+ already exists"
        ),
        LEFT_BEHIND,
    ),
    (
        re.compile(
            r"Invalid IAM Instance Profile|must allow AWS EventBridge Scheduler to assume the role"
            r"|Invalid(?:InstanceID|Group(?:Id)?|SubnetID|VpcID|NetworkInterfaceID|AllocationID|Volume|RouteTableID"
            r"|InternetGatewayID|KeyPair)\.NotFound"
        ),
        NOT_VISIBLE_YET,
    ),
    (
        re.compile(r"ServiceLinkedRoleCreationNotPermitted|create the service-linked role for EC2 Spot Instances"),
        f"EC2's role for spot machines is missing: ask an administrator for {MAKE_SPOT_ROLE}, once for the account",
    ),
    (
        re.compile(r"ExpiredToken|InvalidGrantException|failed to refresh cached credentials|SSO session has expired"),
        f"the login has expired: {LOG_IN}, and run the command again; it continues",
    ),
    (
        re.compile(r"iam:PassRole"),
        "ask for iam:PassRole on roles called llm-*, see the policy in docs/aws.md",
    ),
    (
        re.compile(r"VcpuLimitExceeded|MaxSpotInstanceCountExceeded|AddressLimitExceeded|VpcLimitExceeded"),
        "`make preflight` names the quota and the command that asks for more",
    ),
    (
        re.compile(r"RulesPerSecurityGroupLimitExceeded"),
        "a security group allows 60 rules of each IP version, and new rules are created before old ones are deleted:"
        " write fewer ranges, run `up`, then add the others; or ask for a higher quota L-0EA8095F (inbound rules of a"
        " security group)",
    ),
    (
        re.compile(r"VolumeLimitExceeded|MaxIOPSLimitExceeded"),
        "the account's quota for EBS volumes is used up: ask for more in Service Quotas, service ebs",
    ),
    (
        re.compile(r"VolumeModificationRateExceeded"),
        "AWS changes the size or speed of a volume only once in six hours: run `up` again later; the data stays",
    ),
    (
        re.compile(r"Client\.(InvalidKMSKey\S*|InternalError)|KMSKeyNotAccessible\S*|The KMS key \S+ is not"),
        "the KMS key of the disks cannot be used: see storage.kms_key, and the default key of EBS in the EC2 console",
    ),
)


def hint_for(text: str) -> str:
    """Return a hint about an error; an empty string if there is none."""
    return first_hint(HINTS, text)
