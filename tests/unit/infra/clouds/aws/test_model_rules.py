"""Requests checked against AWS's API models: those that botocore sends and AWS refuses."""

from typing import Any

import botocore.session
import pytest

from tests.doubles.aws.client import connect
from tests.doubles.aws.model_rules import ModelViolationError, compiled, refuse_violations
from tests.doubles.aws.order import Refusal
from tests.doubles.aws.tag_keys import refuse_equal_tag_keys, refuse_group_name
from tests.doubles.provider.kind import CloudError


def model(service: str, operation: str) -> Any:
    return botocore.session.get_session().get_service_model(service).operation_model(operation)


@pytest.mark.parametrize(
    ("service", "operation", "params", "reported"),
    [
        pytest.param(
            "scheduler",
            "CreateScheduleGroup",
            {"Name": "llm-a", "Tags": [{"Key": "team", "Value": ""}]},
            "Tags[0].Value has 0 characters, fewer than 1",
            id="empty tag",
        ),
        pytest.param(
            "iam", "CreateRole", {"RoleName": "a" * 65}, "RoleName has 65 characters, more than 64", id="long"
        ),
        pytest.param(
            "iam", "CreateRole", {"RoleName": "a b"}, r"RoleName: 'a b' does not match [\w+=,.@-]+", id="characters"
        ),
        pytest.param(
            "iam",
            "CreateRole",
            {"RoleName": "a", "Tags": [{"Key": "a", "Value": "x<y"}]},
            "Tags[0].Value: 'x<y' does not match",
            id="characters of a tag",
        ),
        pytest.param(
            "ec2",
            "CreateVolume",
            {"AvailabilityZone": "a", "VolumeType": "gp9"},
            "'gp9' is not one of its values",
            id="enum",
        ),
        pytest.param(
            "scheduler",
            "CreateSchedule",
            {"Name": "a", "Target": {"Arn": "a", "RoleArn": "r", "RetryPolicy": {"MaximumRetryAttempts": 999}}},
            "MaximumRetryAttempts is 999, more than 185",
            id="number",
        ),
    ],
)
def test_a_request_that_breaks_the_model_is_refused(
    service: str, operation: str, params: dict[str, Any], reported: str
) -> None:
    with pytest.raises(ModelViolationError) as caught:
        refuse_violations(params, model(service, operation))

    assert reported in str(caught.value)


def test_a_request_that_follows_the_model_is_accepted() -> None:
    tags = [{"Key": "llm-deploy:stack", "Value": "한국 R+D 7"}]
    refuse_violations({"RoleName": "llm-prod-0123abcd-host", "Tags": tags}, model("iam", "CreateRole"))
    refuse_violations({"Name": "llm-prod-0123abcd"}, model("scheduler", "CreateScheduleGroup"))
    refuse_violations({}, model("sts", "GetCallerIdentity"))


def test_the_plugin_of_the_double_refuses_a_request_that_breaks_the_model() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    cloud = connect({"region": "ap-northeast-2"}, environ)

    with pytest.raises(CloudError, match=r"creating IAM Role: CreateRole\.RoleName has 65 characters, more than 64"):
        cloud.call("iam", "create_role", "creating IAM Role", RoleName="a" * 65, AssumeRolePolicyDocument="{}")


def test_python_can_read_every_pattern_of_the_services() -> None:
    """An unreadable pattern would accept everything, or nothing."""
    patterns: set[str] = set()
    session = botocore.session.get_session()
    for service in ("ec2", "iam", "s3", "ssm", "scheduler", "budgets", "sts", "logs", "service-quotas", "kms"):
        models = session.get_service_model(service)
        shapes = (models.shape_for(name) for name in models.shape_names)
        patterns |= {str(shape.metadata.get("pattern", "")) for shape in shapes}

    assert len([compiled(each) for each in patterns]) > 50


def test_iam_refuses_keys_that_differ_only_in_case() -> None:
    with pytest.raises(Refusal, match="Duplicate tag keys found"):
        refuse_equal_tag_keys({"Tags.member.1.Key": "Name", "Tags.member.2.Key": "name"})
    refuse_equal_tag_keys({"Tags.member.1.Key": "Name", "Tags.member.1.Value": "name"})


def test_a_group_name_like_an_id_is_refused() -> None:
    with pytest.raises(Refusal, match="It may not be in the form of an ID"):
        refuse_group_name("CreateSecurityGroup", {"GroupName": "sg-prod-0a1b2c3"})
    refuse_group_name("CreateSecurityGroup", {"GroupName": "llm-sg-prod-0123abcd"})
