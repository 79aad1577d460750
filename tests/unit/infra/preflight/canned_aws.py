"""AWS by canned answers: one for each method, a good day unless a test says otherwise."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

A, C = "ap-northeast-2a", "ap-northeast-2c"
OWN = "0123abcd"

Answers = dict[str, Any]


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
    "describe_images": {"Images": [{"State": "available"}]},
    "describe_instances": running(),
    "describe_addresses": {"Addresses": []},
    "describe_vpcs": {"Vpcs": [{}]},
    "describe_subnets": {"Subnets": []},
    "describe_route_tables": {"RouteTables": []},
    "describe_spot_price_history": {
        "SpotPriceHistory": [{"AvailabilityZone": A, "InstanceType": "g5.xlarge", "SpotPrice": "0.4"}]
    },
    "head_bucket": {},
}
QUOTAS = {"L-DB2E81BA": 8.0, "L-3819A6DF": 8.0, "L-1216C47A": 8.0, "L-0263D0A3": 5.0, "L-F678F1CE": 5.0}


class CannedAws:
    """Answers by method; what is an error is raised."""

    def __init__(self, answers: Answers, quotas: dict[str, float]) -> None:
        self._answers, self._quotas = answers, quotas

    def can_paginate(self, _method: str) -> bool:
        return False

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def answer(**arguments: Any) -> Any:
            if method == "get_service_quota":
                return {"Quota": {"Value": self._quotas[arguments["QuotaCode"]]}}
            seen = self._answers[method]
            if isinstance(seen, Exception):
                raise seen
            if method == "describe_instance_type_offerings":
                (types,) = [each["Values"] for each in arguments["Filters"]]
                return offered(*((name, zone) for name, zone in seen if name in types))
            return seen

        return answer


def refused(code: str, operation: str = "GetCallerIdentity") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)
