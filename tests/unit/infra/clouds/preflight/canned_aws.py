"""AWS by canned answers: one for each method, without faults unless a test sets one."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from infra.clouds.finding import Finding
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import KnownPlacement
from tests.doubles.aws.model_rules import refuse_request
from tests.engine.aws_stacks import stack_value

A, C = "ap-northeast-2a", "ap-northeast-2c"
OWN = "0123abcd"

Answers = dict[str, Any]

Look = Callable[..., list[Finding]]
"""Checks a stack with some answers changed (fixture `look`)."""


def offered(*places: tuple[str, str]) -> Answers:
    return {"InstanceTypeOfferings": [{"InstanceType": name, "Location": zone} for name, zone in places]}


def instance(machine_type: str, *, spot: bool = False, own: bool = False) -> Any:
    seen: dict[str, Any] = {"InstanceType": machine_type}
    if spot:
        seen["InstanceLifecycle"] = "spot"
    if own:
        seen["Tags"] = [{"Key": "llm-deploy:id", "Value": OWN}]
    return seen


def running(*instances: Any) -> Answers:
    return {"Reservations": [{"Instances": list(instances)}]}


GOOD: dict[str, Any] = {
    "get_caller_identity": {"Arn": "arn:aws:iam::123456789012:user/kim", "Account": "123456789012"},
    "describe_regions": {"Regions": [{"RegionName": "ap-northeast-2", "OptInStatus": "opt-in-not-required"}]},
    "describe_availability_zones": {"AvailabilityZones": [{"ZoneName": A}, {"ZoneName": C}]},
    "describe_instance_type_offerings": (("g5.xlarge", A), ("g5.xlarge", C), ("g6.xlarge", C)),
    "get_parameters": {"Parameters": [{"Value": "ami-0a24040000000000a"}]},
    "describe_images": {"Images": [{"State": "available", "Architecture": "x86_64", "OwnerId": "099720109477"}]},
    "describe_instances": running(),
    "describe_addresses": {"Addresses": []},
    "describe_vpcs": {"Vpcs": [{}]},
    "describe_subnets": {"Subnets": []},
    "describe_route_tables": {"RouteTables": []},
    "describe_spot_price_history": {
        "SpotPriceHistory": [{"AvailabilityZone": A, "InstanceType": "g5.xlarge", "SpotPrice": "0.4"}]
    },
    "head_bucket": {},
    "get_ebs_default_kms_key_id": {"KmsKeyId": "alias/aws/ebs"},
    "get_role": {},
}
QUOTAS = {"L-DB2E81BA": 8.0, "L-3819A6DF": 8.0, "L-1216C47A": 8.0, "L-0263D0A3": 5.0, "L-F678F1CE": 5.0}


DEFAULTS = QUOTAS | {"L-DB2E81BA": 0.0}
"""The quotas of an account in which none was ever changed."""


class InRegion(dict[str, Any]):
    """Answers that differ by region."""


class CannedAws:
    """Answers by method; an error is raised. A quota of None has no entry in the account."""

    def __init__(self, answers: Answers, quotas: dict[str, float | None], service: str, region: str) -> None:
        self._answers, self._quotas, self._service, self._region = answers, quotas, service, region

    def can_paginate(self, _method: str) -> bool:
        return False

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def answer(**arguments: Any) -> Any:
            refuse_request(self._service, method, arguments)
            seen = self._answers.get(method)
            if isinstance(seen, InRegion):
                seen = seen[self._region]
            if isinstance(seen, Exception):
                raise seen
            if method == "get_service_quota":
                return self._quota(arguments["QuotaCode"])
            if method == "get_aws_default_service_quota":
                return {"Quota": {"Value": DEFAULTS[arguments["QuotaCode"]]}}
            if method == "describe_instance_type_offerings":
                (types,) = [each["Values"] for each in arguments["Filters"]]
                return offered(*((name, zone) for name, zone in self._answers[method] if name in types))
            return self._answers[method] if seen is None else seen

        return answer

    def _quota(self, code: str) -> Any:
        value = self._quotas[code]
        if value is None:
            raise refused("NoSuchResourceException", "GetServiceQuota")
        return {"Quota": {"Value": value}}


def refused(code: str, operation: str = "GetCallerIdentity", message: str = "no", *, date: str = "") -> ClientError:
    """Return an error of AWS; `date` is the clock of the server that answered."""
    metadata: Any = {"HTTPHeaders": {"date": date}} if date else {}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)


def config(machine: str, **values: Any) -> DeploymentConfig:
    value = stack_value(machine) | {"zones": [A, C]}
    for path, new in values.items():
        section, _dot, key = path.partition("__")
        if key:
            value.setdefault(section, {})[key] = new
        else:
            value[section] = new
    return parse_deployment(value, "a test")


def wrong(found: list[Finding], level: str = "error") -> list[str]:
    return [str(each) for each in found if each.level == level]


def placement(**changes: Any) -> KnownPlacement:
    values: dict[str, Any] = {
        "id": OWN, "region": "ap-northeast-2", "began_at": "2026-11-21T12:00:00Z", "image_name": "ubuntu-24.04",
        "image": "ami-0a24040000000000a", "machine_type": "g5.xlarge", "zone": A, "zones": [A, C],
    }  # fmt: skip
    return KnownPlacement.model_validate(values | changes)
