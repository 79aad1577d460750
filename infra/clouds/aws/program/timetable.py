"""EventBridge schedules that stop and end the hosts, also if nobody runs this repository any more.

A one-time schedule terminates the hosts at the end of their life; a weekly one stops and starts them. Each host has its
own schedules: if a call names an instance that no longer exists, EC2 acts on none of them. The hosts also have a timer
(boot/end-of-life.sh). Knows no budget and deletes no disk.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.clouds.aws.api.tags import ID
from infra.clouds.aws.program.identity import bounded_role, trust
from infra.config.models.iam import IamSpec
from infra.config.models.lifetime import WeeklySchedule

EC2_CALL = "arn:{}:scheduler:::aws-sdk:ec2:{}"
"""Target of a schedule, for a partition and an action."""

RETRIES = 185
"""Most retries of AWS, with growing pauses: the maximum that it accepts."""

MAX_RETRY_S, HOUR_S = 86400, 3600
"""How long AWS retries: the maximum that it accepts."""


@dataclass(frozen=True, kw_only=True)
class TimetableArgs:
    """Arguments of `Timetable`."""

    physical_name: str
    partition: str
    """Of AWS."""
    region: str
    id: str
    """The id of the placement: the schedules may act on its instances only."""
    instance_ids: dict[str, pulumi.Output[str]]
    """By the end of the names of their schedules."""
    ends_at: datetime
    """In UTC."""
    weekly: WeeklySchedule | None
    iam: IamSpec


class Timetable(pulumi.ComponentResource):
    """The schedules of a stack, and the role that they use."""

    def __init__(self, name: str, args: TimetableArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Timetable", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        group = aws.scheduler.ScheduleGroup(name, name=args.physical_name, opts=mine)
        trusted = group.arn.apply(
            lambda arn: json.dumps(trust("scheduler.amazonaws.com", StringEquals={"aws:SourceArn": arn}))
        )
        role = bounded_role(name, f"{args.physical_name}-timetable", trusted, args.iam, self)
        allowed = aws.iam.RolePolicy(
            name, name="timetable", role=role.name, policy=json.dumps(timetable_policy(args)), opts=mine
        )
        for which, instance_id in args.instance_ids.items():
            for action, expression, zone in expressions(args.ends_at, args.weekly):
                aws.scheduler.Schedule(
                    f"{name}-{action}-{which}",
                    name=f"{action}-{which}",
                    group_name=group.name,
                    schedule_expression=expression,
                    schedule_expression_timezone=zone,
                    flexible_time_window={"mode": "OFF"},
                    target={
                        "arn": EC2_CALL.format(args.partition, f"{action}Instances"),
                        "role_arn": role.arn,
                        "input": instance_id.apply(lambda each: json.dumps({"InstanceIds": [each]})),
                        "retry_policy": {
                            "maximum_retry_attempts": RETRIES,
                            "maximum_event_age_in_seconds": retry_s(action, args.weekly),
                        },
                    },
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]),
                )
        self.register_outputs({})


def expressions(ends_at: datetime, weekly: WeeklySchedule | None) -> list[tuple[str, str, str]]:
    """Return the scheduled actions, each as action, schedule expression and time zone."""
    planned = [("terminate", f"at({ends_at:%Y-%m-%dT%H:%M:%S})", "UTC")]
    if weekly is not None:
        days = ",".join(day.upper() for day in weekly.days)
        for action, time in (("start", weekly.start), ("stop", weekly.stop)):
            hour, minute = (int(part) for part in time.split(":"))
            planned.append((action, f"cron({minute} {hour} ? * {days} *)", weekly.time_zone))
    return planned


def retry_s(action: str, weekly: WeeklySchedule | None) -> int:
    """Return for how many seconds AWS retries a failed action: never past the next action.

    A start that finds no capacity in the morning is retried until the stop of that day.
    """
    if weekly is None or action == "terminate":
        return MAX_RETRY_S
    open_s = seconds_of_day(weekly.stop) - seconds_of_day(weekly.start)
    return max(60, min(MAX_RETRY_S, open_s if action == "start" else MAX_RETRY_S - open_s))


def seconds_of_day(time: str) -> int:
    """Return the seconds from midnight to a time such as `08:30`."""
    hour, minute = (int(part) for part in time.split(":"))
    return hour * HOUR_S + minute * 60


def timetable_policy(args: TimetableArgs) -> dict[str, Any]:
    """Return the permissions of the schedules: end this stack's instances and, with weekly hours, stop and start them.

    To start a host whose disks have a customer managed key (`storage.kms_key`, or the account's default), EC2 needs a
    grant on that key from the caller. Without it EC2 refuses the start, and no one gets a report. The conditions allow
    the role no other use of keys. The key is not named, because disks keep the key that they were created with.
    """
    actions = ["ec2:TerminateInstances", *(["ec2:StartInstances", "ec2:StopInstances"] if args.weekly else [])]
    statement = {
        "Effect": "Allow",
        "Action": actions,
        "Resource": f"arn:{args.partition}:ec2:*:*:instance/*",
        "Condition": {"StringEquals": {f"aws:ResourceTag/{ID}": args.id}},
    }
    grant = {
        "Effect": "Allow",
        "Action": "kms:CreateGrant",
        "Resource": f"arn:{args.partition}:kms:{args.region}:*:key/*",
        "Condition": {
            "Bool": {"kms:GrantIsForAWSResource": "true"},
            "StringEquals": {"kms:ViaService": f"ec2.{args.region}.amazonaws.com"},
        },
    }
    return {"Version": "2012-10-17", "Statement": [statement, *([grant] if args.weekly else [])]}
