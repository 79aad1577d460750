"""Schedules, log group, budget."""

from typing import Any

from tests.doubles.aws.client import Aws, tag_list, tag_map
from tests.doubles.provider.kind import Kind, Rules
from tests.doubles.provider.values import Properties

GONE = ["ResourceNotFoundException", "NotFoundException"]


class ScheduleGroup(Kind[Aws]):
    token = "aws:scheduler/scheduleGroup:ScheduleGroup"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "region"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        name, tags = inputs["name"], tag_list(inputs.get("tags"))
        cloud.call("scheduler", "create_schedule_group", "creating Schedule Group", Name=name, Tags=tags)
        return str(name)

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("scheduler", "get_schedule_group", GONE, Name=identity)
        if seen is None:
            return None
        tags = cloud.call("scheduler", "list_tags_for_resource", "reading", ResourceArn=seen["Arn"]).get("Tags")
        return {"arn": seen["Arn"], "name": identity, "state": seen["State"], "tags": tag_map(tags)}

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("scheduler", "delete_schedule_group", GONE, Name=identity)


class Schedule(Kind[Aws]):
    token = "aws:scheduler/schedule:Schedule"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "groupName", "region"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        cloud.call("scheduler", "create_schedule", "creating Schedule", **_wanted(inputs))
        return f"{inputs['groupName']}/{inputs['name']}"

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        group, _slash, name = identity.partition("/")
        seen = cloud.found("scheduler", "get_schedule", GONE, GroupName=group, Name=name)
        if seen is None:
            return None
        return {
            "arn": seen["Arn"],
            "name": name,
            "groupName": group,
            "scheduleExpression": seen["ScheduleExpression"],
            "scheduleExpressionTimezone": seen.get("ScheduleExpressionTimezone", "UTC"),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        cloud.call("scheduler", "update_schedule", "updating Schedule", **_wanted(new))

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        group, _slash, name = identity.partition("/")
        cloud.found("scheduler", "delete_schedule", GONE, GroupName=group, Name=name)


class LogGroup(Kind[Aws]):
    token = "aws:cloudwatch/logGroup:LogGroup"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "region"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        name = inputs["name"]
        tags = inputs.get("tags") or {}
        cloud.call("logs", "create_log_group", "creating CloudWatch Logs Log Group", logGroupName=name, tags=tags)
        self.update(cloud, name, {}, inputs)
        return str(name)

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.call("logs", "describe_log_groups", "reading", logGroupNamePrefix=identity)
        found = [each for each in seen["logGroups"] if each["logGroupName"] == identity]
        if not found:
            return None
        tags = cloud.call("logs", "list_tags_log_group", "reading", logGroupName=identity)["tags"]
        arn = found[0]["arn"].removesuffix(":*")  # the plugin's ARN is without it
        return {"arn": arn, "name": identity, "retentionInDays": found[0].get("retentionInDays", 0), "tags": tags}

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        days = new.get("retentionInDays")
        if days:
            cloud.call("logs", "put_retention_policy", "putting", logGroupName=identity, retentionInDays=days)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("logs", "delete_log_group", GONE, logGroupName=identity)


class Budget(Kind[Aws]):
    token = "aws:budgets/budget:Budget"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "accountId", "budgetType"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        warnings = [
            {
                "Notification": {
                    "NotificationType": each["notificationType"],
                    "ComparisonOperator": each["comparisonOperator"],
                    "Threshold": each["threshold"],
                    "ThresholdType": each["thresholdType"],
                },
                "Subscribers": [
                    {"SubscriptionType": "EMAIL", "Address": mail} for mail in each["subscriberEmailAddresses"]
                ],
            }
            for each in inputs.get("notifications", [])
        ]
        budget = {
            "BudgetName": inputs["name"],
            "BudgetType": inputs["budgetType"],
            "TimeUnit": inputs["timeUnit"],
            "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
        }
        cloud.call(
            "budgets",
            "create_budget",
            "creating Budget",
            AccountId=cloud.account,
            Budget=budget,
            NotificationsWithSubscribers=warnings,
        )
        return f"{cloud.account}:{inputs['name']}"

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        account, _colon, name = identity.partition(":")
        seen = cloud.found("budgets", "describe_budget", GONE, AccountId=account, BudgetName=name)
        if seen is None:
            return None
        return {"accountId": account, "name": name, "limitAmount": seen["Budget"]["BudgetLimit"]["Amount"]}

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        account, _colon, name = identity.partition(":")
        cloud.found("budgets", "delete_budget", GONE, AccountId=account, BudgetName=name)


def _wanted(inputs: Properties) -> dict[str, Any]:
    target = inputs["target"]
    retry = target.get("retryPolicy") or {}
    return {
        "Name": inputs["name"],
        "GroupName": inputs["groupName"],
        "ScheduleExpression": inputs["scheduleExpression"],
        "ScheduleExpressionTimezone": inputs.get("scheduleExpressionTimezone", "UTC"),
        "FlexibleTimeWindow": {"Mode": inputs["flexibleTimeWindow"]["mode"]},
        "Target": {
            "Arn": target["arn"],
            "RoleArn": target["roleArn"],
            "Input": target.get("input", ""),
            "RetryPolicy": {
                "MaximumRetryAttempts": retry.get("maximumRetryAttempts", 185),
                "MaximumEventAgeInSeconds": retry.get("maximumEventAgeInSeconds", 86400),
            },
        },
    }
