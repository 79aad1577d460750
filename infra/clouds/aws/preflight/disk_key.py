"""Whether the KMS key of a stack's disks can be used: by the login that creates them, and by the start schedule."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from core.errors import DeployError, UsageError
from infra.clouds.aws.api.client import call
from infra.clouds.finding import Finding
from infra.clouds.resources.denied_calls import MissingError
from infra.config import DeploymentConfig

OF_AWS = "alias/aws/"
"""Prefix of the aliases of AWS managed keys, whose policies let everybody in the account use EBS."""

GRANT = "kms:CreateGrant"
"""Permission to start a host whose disks have a customer managed key (docs.aws.amazon.com: Amazon EBS encryption)."""


def key_findings(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether the key of the disks can encrypt: the stack file's key, else the account's default key."""
    region, asked = str(config.region), config.storage.kms_key
    about = "storage.kms_key"
    key = asked or str(call("ec2", region, "get_ebs_default_kms_key_id")["KmsKeyId"])
    if key.startswith(OF_AWS):
        return
    words = key if asked else f"{key}, the default key of EBS in this account and region,"
    try:
        seen = call("kms", region, "describe_key", KeyId=key)["KeyMetadata"]
    except MissingError:
        yield Finding("error", about, f"{words} does not exist", "write the ARN of a key of this region")
        return
    if seen.get("KeyManager") == "AWS":
        return
    state, spec = seen.get("KeyState", "Enabled"), seen.get("KeySpec", "SYMMETRIC_DEFAULT")
    if state != "Enabled":
        yield Finding("error", about, f"{words} is in state {state}", "enable it, or write another key")
    elif spec != "SYMMETRIC_DEFAULT" or seen.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
        yield Finding(
            "error", about, f"{words} is not a symmetric key for encryption", "write a symmetric key for encryption"
        )
    else:
        yield Finding("ok", about, f"{words} encrypts the disks")
        yield from _scheduled_starts(config, key, words)


def _scheduled_starts(config: DeploymentConfig, key: str, words: str) -> Iterator[Finding]:
    """Yield a key whose policy excludes the schedule's role: starts would fail without any report."""
    if config.lifetime.weekly is None:
        return
    try:
        policy = json.loads(
            call("kms", str(config.region), "get_key_policy", KeyId=key, PolicyName="default")["Policy"]
        )
    except UsageError:
        raise
    except DeployError as error:
        what = f"could not check whether {words} lets the schedule's role start hosts: {error.what}"
        yield Finding("warning", "lifetime.weekly", what, error.hint)
        return
    if not lets_iam_decide(policy):
        what = f"the policy of {words} does not allow IAM policies, so the schedule's role could not start hosts"
        hint = f"add a statement that allows the account's root {GRANT}, with the condition kms:GrantIsForAWSResource"
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
    """Return a policy's value as a list; it may be a single item."""
    return value if isinstance(value, list) else [] if value is None else [value]
