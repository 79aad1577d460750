"""The schedules on AWS: when they act, on which host, and what their role may do."""

import json
from typing import Any

import pytest

from infra.clouds.aws.api.tags import ID
from tests.unit.infra.clouds.aws.deployed import Deployed

SCHEDULE = "aws:scheduler/schedule:Schedule"
WEEKLY = ', weekly: {days: [mon, fri], start: "08:30", stop: "20:00", time_zone: Asia/Seoul}'


def by_name(schedules: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in schedules}


def test_weekly_hours_are_cron_lines_in_the_zone_of_the_file(deployed: Deployed) -> None:
    schedules = deployed(lifetime=WEEKLY).of(SCHEDULE)

    lines = {
        name: (each["scheduleExpression"], each["scheduleExpressionTimezone"])
        for name, each in by_name(schedules).items()
    }
    assert lines == {
        "terminate-1": ("at(2026-11-21T20:00:00)", "UTC"),
        "start-1": ("cron(30 8 ? * MON,FRI *)", "Asia/Seoul"),
        "stop-1": ("cron(0 20 ? * MON,FRI *)", "Asia/Seoul"),
    }


def test_a_start_without_stock_is_retried_until_the_stop_of_that_day(deployed: Deployed) -> None:
    """It was retried for an hour; then the host stayed stopped all day without a message."""
    schedules = by_name(deployed(lifetime=WEEKLY).of(SCHEDULE))

    seconds = {name: each["target"]["retryPolicy"]["maximumEventAgeInSeconds"] for name, each in schedules.items()}
    assert seconds == {"terminate-1": 86400, "start-1": int(11.5 * 3600), "stop-1": int(12.5 * 3600)}


def test_each_host_has_schedules_of_its_own(deployed: Deployed) -> None:
    """A request for several hosts fails for all when one no longer exists."""
    mocks = deployed("type: m6i.2xlarge, count: 2", lifetime=WEEKLY)

    targets = {
        name: (each["target"]["arn"].rpartition(":")[2], json.loads(each["target"]["input"])["InstanceIds"])
        for name, each in by_name(mocks.of(SCHEDULE)).items()
    }
    assert targets == {
        f"{action}-{number}": (f"{action}Instances", [f"prod-{number}-id"])
        for action in ("terminate", "start", "stop")
        for number in (1, 2)
    }
    assert mocks.names(SCHEDULE) == sorted(f"prod-{name}" for name in targets)


@pytest.mark.parametrize(
    ("lifetime", "actions"),
    [
        ("", ["ec2:TerminateInstances"]),
        (WEEKLY, ["ec2:TerminateInstances", "ec2:StartInstances", "ec2:StopInstances"]),
    ],
    ids=["end of life", "end of life and weekly hours"],
)
def test_schedules_may_act_only_on_hosts_of_their_stack(deployed: Deployed, lifetime: str, actions: list[str]) -> None:
    policies = deployed(lifetime=lifetime).of("aws:iam/rolePolicy:RolePolicy")

    (policy,) = [json.loads(each["policy"]) for each in policies if each["name"] == "timetable"]
    statement = policy["Statement"][0]
    assert statement == {
        "Effect": "Allow",
        "Action": actions,
        "Resource": "arn:aws:ec2:*:*:instance/*",
        "Condition": {"StringEquals": {f"aws:ResourceTag/{ID}": "0123abcd"}},
    }


def test_a_scheduled_start_may_grant_ec2_the_key_of_the_disks(deployed: Deployed) -> None:
    """With a customer's key as the default of EBS, EC2 refused every scheduled start without a message."""
    granted = {}
    for lifetime in ("", WEEKLY):
        policies = deployed(lifetime=lifetime).of("aws:iam/rolePolicy:RolePolicy")
        (policy,) = [json.loads(each["policy"]) for each in policies if each["name"] == "timetable"]
        granted[lifetime] = policy["Statement"][1:]

    assert granted == {
        "": [],
        WEEKLY: [
            {
                "Effect": "Allow",
                "Action": "kms:CreateGrant",
                "Resource": "arn:aws:kms:ap-northeast-2:*:key/*",
                "Condition": {
                    "Bool": {"kms:GrantIsForAWSResource": "true"},
                    "StringEquals": {"kms:ViaService": "ec2.ap-northeast-2.amazonaws.com"},
                },
            }
        ],
    }


def test_only_schedules_of_the_stack_may_assume_the_role(deployed: Deployed) -> None:
    """Otherwise another stack's schedule that names our role could use it."""
    roles = deployed().of("aws:iam/role:Role")

    (role,) = [each for each in roles if each["name"] == "llm-prod-0123abcd-timetable"]
    (statement,) = json.loads(role["assumeRolePolicy"])["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceArn": "prod-arn"}},
    }
