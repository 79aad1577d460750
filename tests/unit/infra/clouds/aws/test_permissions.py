"""The policies in docs/aws.md: the code writes them, and they allow every call of commands and plugin."""

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from core.paths import CHECKOUT
from infra.clouds.aws.api.permissions import MAX_POLICY_CHARS, PAGE, actions_of, allowed, policies, updated
from tests.engine.aws_stacks import not_allowed

SERVICES = ("ec2", "iam", "s3", "ssm", "scheduler", "budgets", "sts", "logs", "service-quotas", "kms")
FOLDERS = ("infra/clouds/aws", "tests/doubles/aws/kinds")
CALLERS = sorted(path for folder in FOLDERS for path in (CHECKOUT / folder).glob("*.py"))

NO_MORE = ("create_log_group", "put_retention_policy")
"""Calls of earlier releases, whose stacks may still exist; the double still knows them."""


@cache
def methods() -> dict[str, list[tuple[str, str]]]:
    """Return the services and operations by their names in boto3."""
    session, found = botocore.session.get_session(), dict[str, list[tuple[str, str]]]()
    for service in SERVICES:
        for operation in session.get_service_model(service).operation_names:
            found.setdefault(xform_name(operation), []).append((service, operation))
    return found


def named_methods(path: Path) -> Iterator[str]:
    """Yield the methods of boto3 that a module names; for a bucket's settings, only the noun."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in methods() and node.value not in NO_MORE:
                yield node.value
            if path.name == "bucket.py":
                settings = (f"{verb}_{node.value}" for verb in ("get", "put", "delete"))
                yield from (each for each in settings if "s3" in dict(methods().get(each, ())))


def test_the_page_has_the_policies_of_the_code() -> None:
    """`python -m infra.clouds.aws.api.permissions` writes them."""
    text = PAGE.read_text()

    assert updated(text) == text


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_call_to_aws_is_allowed(path: Path) -> None:
    lacking = {
        name: methods()[name]
        for name in named_methods(path)
        if not any(set(actions_of(*each)) <= allowed() for each in methods()[name])
    }

    assert lacking == {}


def test_aws_accepts_every_policy() -> None:
    for policy in policies().values():
        assert len("".join(json.dumps(policy).split())) <= MAX_POLICY_CHARS
        sids = [each["Sid"] for each in policy["Statement"]]
        assert len(sids) == len(set(sids))
        assert all(action == "s3:ListTagsForResource" or "*" not in action for action in allowed())


def test_a_missing_permission_is_named() -> None:
    assert not_allowed(["ec2:DescribeVpcs", "sts:GetCallerIdentity"]) == []
    assert not_allowed(["ec2:CreateFleet", "s3:HeadBucket"]) == ["ec2:CreateFleet"]
