"""Whether the KMS key of a stack's disks can be used: by who makes them, and by the schedule that starts the hosts."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from core.errors import DeployError, UsageError
from infra.clouds.aws.api.client import call
from infra.clouds.denied_calls import MissingError
from infra.clouds.finding import Finding
from infra.config import DeploymentConfig

OF_AWS = "alias/aws/"
"""How the keys begin that AWS manages, whose policies let everybody in the account use EBS."""

GRANT = "kms:CreateGrant"
"""What starting a host takes whose disks have a key of a customer (docs.aws.amazon.com: Amazon EBS encryption)."""


def key_findings(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether the key of the disks can encrypt; it is the account's default where the stack file names none."""
    region, asked = str(config.region), config.storage.kms_key
    about = "storage.kms_key"
    key = asked or str(call("ec2", region, "get_ebs_default_kms_key_id")["KmsKeyId"])
    if key.startswith(OF_AWS):
        return
    words = key if asked else f"{key}, the default key of EBS in this account and region,"
    try:
        seen = call("kms", region, "describe_key", KeyId=key)["KeyMetadata"]
    except MissingError:
        yield Finding("error", about, f"{words} is not there", "write the ARN of a key of this region")
        return
    if seen.get("KeyManager") == "AWS":
        return
    state, spec = seen.get("KeyState", "Enabled"), seen.get("KeySpec", "SYMMETRIC_DEFAULT")
    if state != "Enabled":
        yield Finding("error", about, f"{words} is in state {state}", "enable it, or write another key")
    elif spec != "SYMMETRIC_DEFAULT" or seen.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
        yield Finding("error", about, f"{words} is no symmetric key for encryption", "write one that EBS takes")
    else:
        yield Finding("ok", about, f"{words} encrypts the disks")
        yield from _scheduled_starts(config, key, words)


def _scheduled_starts(config: DeploymentConfig, key: str, words: str) -> Iterator[Finding]:
    """Yield a key whose policy leaves no room for the schedule's role: its starts would fail, and nobody would hear."""
    if config.lifetime.weekly is None:
        return
    try:
        policy = json.loads(
            call("kms", str(config.region), "get_key_policy", KeyId=key, PolicyName="default")["Policy"]
        )
    except UsageError:
        raise
    except DeployError as error:
        what = f"whether {words} lets the schedule's role start hosts could not be asked: {error.what}"
        yield Finding("warning", "lifetime.weekly", what, error.hint)
        return
    if not lets_iam_decide(policy):
        what = f"the policy of {words} leaves nothing to IAM, so the schedule's role could not start hosts"
        hint = f"allow the account's root {GRANT} in it, with the condition kms:GrantIsForAWSResource"
        yield Finding("warning", "lifetime.weekly", what, hint)


def lets_iam_decide(policy: dict[str, Any]) -> bool:
    """Return whether a key's policy lets roles of its account have `kms:CreateGrant` through their own policies."""
    for statement in _listed(policy.get("Statement")):
        principals = statement.get("Principal")
        who = _listed(principals.get("AWS") if isinstance(principals, dict) else principals)
        actions = [str(each).lower() for each in _listed(statement.get("Action"))]
        is_for_all = any(each == "*" or str(each).endswith(":root") or str(each).isdigit() for each in who)
        if (
            statement.get("Effect") == "Allow"
            and is_for_all
            and any(fnmatchcase(GRANT.lower(), each) for each in actions)
        ):
            return True
    return False


def _listed(value: Any) -> list[Any]:
    """Return what a policy writes as one or as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]
