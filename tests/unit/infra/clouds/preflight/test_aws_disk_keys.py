"""Preflight on AWS: the key of the disks, the boundary of the roles, EC2's role for spot machines."""

import json
from typing import Any

import pytest

from infra.clouds.aws.api.hints import hint_for
from infra.clouds.aws.preflight.disk_key import lets_iam_decide
from tests.unit.infra.clouds.preflight.canned_aws import Look, refused, wrong

KEY = "arn:aws:kms:ap-northeast-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
ROOT = "arn:aws:iam::123456789012:root"
WEEKLY = {"weekly": {"start": "08:00", "stop": "20:00", "time_zone": "Asia/Seoul"}}


def key(**changes: Any) -> dict[str, Any]:
    return {"KeyMetadata": {"KeyManager": "CUSTOMER", "KeyState": "Enabled"} | changes}


def policy(**changes: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"} | changes
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        pytest.param(key(), "", id="usable"),
        pytest.param(key(KeyState="PendingDeletion"), f"{KEY} is in state PendingDeletion", id="about to be deleted"),
        pytest.param(key(KeyState="Disabled"), f"{KEY} is in state Disabled", id="disabled"),
        pytest.param(
            key(KeySpec="RSA_4096", KeyUsage="SIGN_VERIFY"), f"{KEY} is not a symmetric key", id="for signatures"
        ),
        pytest.param(refused("NotFoundException", "DescribeKey"), f"{KEY} does not exist", id="gone"),
    ],
)
def test_a_key_that_cannot_encrypt_is_reported(look: Look, answer: Any, reported: str) -> None:
    lines = wrong(look({"describe_key": answer}, storage={"kms_key": KEY}))

    assert [each.removeprefix("storage.kms_key: ")[: len(reported)] for each in lines] == (
        [reported] if reported else []
    )


def test_a_customer_s_default_key_is_checked_too(look: Look) -> None:
    answers = {"get_ebs_default_kms_key_id": {"KmsKeyId": KEY}, "describe_key": key(KeyState="Disabled")}

    assert wrong(look(answers)) == [
        f"storage.kms_key: {KEY}, the default key of EBS in this account and region, is in state Disabled; enable it, "
        "or write another key"
    ]


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        pytest.param({"Policy": json.dumps(policy())}, [], id="left to IAM"),
        pytest.param(
            {"Policy": json.dumps(policy(Principal={"AWS": "arn:aws:iam::123456789012:user/kim"}))},
            [
                f"lifetime.weekly: the policy of {KEY} does not allow IAM policies, so the schedule's role could "
                "not start hosts; add a statement that allows the account's root kms:CreateGrant, "
                "with the condition kms:GrantIsForAWSResource"
            ],
            id="to one person",
        ),
        pytest.param(
            refused("AccessDeniedException", "GetKeyPolicy"),
            [
                f"lifetime.weekly: could not check whether {KEY} lets the schedule's role start hosts: "
                "is not allowed (no); ask for kms:GetKeyPolicy, or use another login"
            ],
            id="not allowed",
        ),
    ],
)
def test_a_key_that_prevents_scheduled_starts_is_reported(look: Look, answer: Any, reported: list[str]) -> None:
    found = look({"describe_key": key(), "get_key_policy": answer}, storage={"kms_key": KEY}, lifetime=WEEKLY)

    of_the_key = [each for each in wrong(found, "warning") if KEY in each]  # others depend on the time
    assert (wrong(found), of_the_key) == ([], reported)


@pytest.mark.parametrize(
    ("changes", "lets"),
    [
        ({"Action": ["kms:Describe*", "kms:CreateGrant"]}, True),
        ({"Action": "kms:Create*"}, True),
        ({"Action": ["kms:Describe*", "kms:Decrypt"]}, False),
        ({"Effect": "Deny"}, False),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": ["arn:aws:iam::1:role/x", "123456789012"]}}, True),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, False),
    ],
)
def test_whether_a_key_policy_leaves_access_to_iam(changes: dict[str, Any], lets: bool) -> None:
    assert lets_iam_decide(policy(**changes)) is lets


def test_a_missing_boundary_is_reported(look: Look) -> None:
    boundary = "arn:aws:iam::123456789012:policy/bounds"
    answers = {"get_policy": refused("NoSuchEntity", "GetPolicy")}

    assert wrong(look(answers, iam={"permissions_boundary": boundary})) == [
        f"iam.permissions_boundary: {boundary} does not exist; write the ARN of a policy of this account"
    ]
    assert wrong(look({"get_policy": {}}, iam={"permissions_boundary": boundary})) == []


def test_a_missing_role_for_spot_machines_is_reported_with_its_command(look: Look) -> None:
    answers = {"get_role": refused("NoSuchEntity", "GetRole")}

    assert wrong(look(answers), "warning") == []
    (line,) = wrong(look(answers, machine="type: g5.xlarge, market: spot"), "warning")
    assert "iam create-service-linked-role --aws-service-name spot.amazonaws.com" in line


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "api error AuthFailure.ServiceLinkedRoleCreationNotPermitted: The provided credentials do not have "
            "permission to create the service-linked role for EC2 Spot Instances.",
            "create-service-linked-role --aws-service-name spot.amazonaws.com",
        ),
        ("failed to refresh cached credentials, operation error SSO: GetRoleCredentials", "the login has expired"),
        ("api error VcpuLimitExceeded: You have requested more", "make preflight"),
        ("is not authorized to perform: iam:PassRole on resource", "docs/aws.md"),
        ("Client.InternalError: Client error on launch", "storage.kms_key"),
        ("Value (llm-a-0123abcd-host) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile "
         "name", "run the command again; it continues"),
        ("api error InvalidInstanceID.NotFound: The instance ID 'i-1' does not exist", "run the command again; it"),
        ("api error InvalidGroup.NotFound: The security group 'sg-1' does not exist", "run the command again; it"),
        ("ValidationException: The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
         "run the command again; it continues"),
        ("EntityAlreadyExists: Role with name llm-a-0123abcd-host already exists.", "it first removes the orphans"),
        ("InvalidKeyPair.Duplicate: The keypair already exists", "it first removes the orphans"),
        ("InvalidNetworkInterface.InUse: Interface: [eni-1] in use.", "it first removes the orphans"),
        ("BucketAlreadyOwnedByYou: Your previous request succeeded and you already own it.", "it first removes the"),
        ("BucketAlreadyExists: The requested bucket name is not available.", "`make down`, then `make up`"),
        ("api error RulesPerSecurityGroupLimitExceeded: The maximum number of rules", "add the others"),
        ("api error VolumeLimitExceeded: You have exceeded your maximum gp3 storage limit", "service ebs"),
        ("api error InvalidParameterValue: no", ""),
    ],
)  # fmt: skip
def test_an_error_of_the_engine_gets_a_hint_where_one_helps(text: str, hint: str) -> None:
    found = hint_for(text)

    assert (hint in found) if hint else found == ""
