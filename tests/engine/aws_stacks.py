"""Stack files for tests in the simulated AWS, and functions that list what it has of them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import yaml

from infra.clouds.aws.api.permissions import actions_of, allowed
from infra.clouds.aws.api.tags import ENDS_AT
from tests.doubles.aws.cloud import ACCOUNT
from tests.doubles.aws.running import RunningAws

REGION = "ap-northeast-2"

MODEL = "{name: qwen, source: {kind: hub, repo: Qwen/Qwen2.5-0.5B-Instruct, revision: " + "7a" * 20 + "}}"

CPU = """\
config:
  llm-deploy:deployment:
    cloud: aws
    region: ap-northeast-2
    zones: [{zones}]
    machine: {{{machine}}}
    network:
      ssh_cidrs: [198.18.0.7/32]
      client_cidrs: [198.18.0.0/24, "2001:2::/48"]
    lifetime: {{ttl_hours: 8{lifetime}}}
    {more}
    serving: {{model: {model}}}
"""


def stack_text(
    machine: str = "type: m6i.2xlarge",
    *,
    zones: str = "ap-northeast-2a, ap-northeast-2b",
    lifetime: str = "",
    more: str = "",
) -> str:
    """Return a stack file."""
    return CPU.format(machine=machine, zones=zones, lifetime=lifetime, more=more, model=MODEL)


def stack_value(machine: str = "type: m6i.2xlarge", *, lifetime: str = "", more: str = "") -> Any:
    """Return the deployment of a stack file."""
    value = yaml.safe_load(stack_text(machine, lifetime=lifetime, more="" if more == "existing" else more))
    deployment = value["config"]["llm-deploy:deployment"]
    if more == "existing":
        deployment["network"] |= {"id": "vpc-0123456789abcdef0", "subnets": ["subnet-0123456789abcdef0"]}
    return deployment


def with_gateway(text: str) -> str:
    """Return a stack file with a machine of its own for the gateway."""
    return text.replace("    serving:", "    gateway: {machine: {}}\n    serving:")


def with_pool(text: str, machine: str) -> str:
    """Return a stack file of `with_gateway` with two machines in a pool of their own."""
    model = MODEL.replace("qwen,", "large,")
    pool = f"{{machine: {{{machine}, count: 2}}, serving: {{model: {model}}}}}"
    return text.replace("    serving:", f"    pools: {{large: {pool}}}\n    serving:")


def opened(aws: RunningAws, group: str) -> set[tuple[int, str]]:
    """Return the ports that a security group opens, each with a network or another group."""
    wanted = [{"Name": "group-id", "Values": [group]}]
    rules = aws.client("ec2", REGION).describe_security_group_rules(Filters=wanted)["SecurityGroupRules"]
    return {
        (each["FromPort"], each.get("CidrIpv4") or each.get("CidrIpv6") or each["ReferencedGroupInfo"]["GroupId"])
        for each in rules
        if not each["IsEgress"]
    }


def instances(aws: RunningAws, region: str = REGION, *, ended: bool = False) -> list[Any]:
    """Return the instances that are not terminated; with `ended`, all instances."""
    seen = aws.client("ec2", region).describe_instances()["Reservations"]
    found = [each for reservation in seen for each in reservation["Instances"]]
    return [each for each in found if ended or each["State"]["Name"] not in ("shutting-down", "terminated")]


def volumes(aws: RunningAws) -> dict[str, Any]:
    """Return the data volumes by id, found by their tag."""
    seen = aws.client("ec2", REGION).describe_volumes()["Volumes"]
    return {each["VolumeId"]: each for each in seen if _tags(each).get("Name", "").endswith("-data")}


def ends_at(instance: Any) -> datetime:
    """Return the end of life in an instance's tag."""
    return datetime.fromisoformat(_tags(instance)[ENDS_AT])


def untagged(aws: RunningAws, region: str = REGION) -> list[str]:
    """Return the taggable resources that lack our tag, so that nobody could see whose they are."""
    ec2, found = aws.client("ec2", region), instances(aws, region)
    for method, key in (
        ("describe_volumes", "Volumes"),
        ("describe_addresses", "Addresses"),
        ("describe_network_interfaces", "NetworkInterfaces"),
        ("describe_key_pairs", "KeyPairs"),
        ("describe_internet_gateways", "InternetGateways"),
        ("describe_vpc_endpoints", "VpcEndpoints"),
    ):
        found += getattr(ec2, method)()[key]
    own = [
        {"Name": "vpc-id", "Values": [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]}
    ]
    for method, key in (
        ("describe_vpcs", "Vpcs"),
        ("describe_subnets", "Subnets"),
        ("describe_security_groups", "SecurityGroups"),
    ):
        found += getattr(ec2, method)(Filters=own)[key]
    return [str(each) for each in found if "llm-deploy:id" not in _tags(each)]


def not_allowed(operations: Iterable[str]) -> list[str]:
    """Return the permissions that the policies of docs/aws.md lack for operations, each as `service:Operation`."""
    pairs = (each.partition(":")[::2] for each in operations)
    return sorted({action for pair in pairs for action in actions_of(*pair)} - allowed())


def everything(aws: RunningAws, region: str = REGION) -> list[str]:
    """Return all resources of the account except those that AWS creates in every account."""
    ec2, left = aws.client("ec2", region), []
    for method, key in (
        ("describe_volumes", "Volumes"),
        ("describe_addresses", "Addresses"),
        ("describe_network_interfaces", "NetworkInterfaces"),
        ("describe_key_pairs", "KeyPairs"),
        ("describe_internet_gateways", "InternetGateways"),
    ):
        left += [f"{key}: {each}" for each in getattr(ec2, method)()[key]]
    left += [f"instance {each['InstanceId']}" for each in instances(aws, region)]
    left += [f"network {each['VpcId']}" for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    left += [f"group {each['GroupId']}" for each in groups if each["GroupName"] != "default"]
    left += [f"role {each['RoleName']}" for each in aws.client("iam").list_roles()["Roles"]]
    profiles = aws.client("iam").list_instance_profiles()["InstanceProfiles"]
    left += [f"profile {each['InstanceProfileName']}" for each in profiles]
    left += [f"bucket {each['Name']}" for each in aws.client("s3").list_buckets()["Buckets"]]
    budgets = aws.client("budgets", "us-east-1").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    left += [f"budget {each['BudgetName']}" for each in budgets]
    schedules = aws.client("scheduler", region).list_schedule_groups()["ScheduleGroups"]
    left += [f"schedules {each['Name']}" for each in schedules if each["Name"] != "default"]
    logs = aws.client("logs", region).describe_log_groups()["logGroups"]
    return left + [f"logs {each['logGroupName']}" for each in logs]


def _tags(resource: Any) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource.get("Tags") or resource.get("TagSet") or []}
