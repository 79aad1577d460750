"""The plugin's requests for a stack, checked against AWS's API models, without an engine and without a cloud."""

from typing import Any
from unittest.mock import MagicMock

import pytest

from infra.clouds.aws.api.tags import own_tags, with_tags
from tests.doubles.aws.client import operation_of
from tests.doubles.aws.model_rules import refuse_request
from tests.doubles.aws.table import KINDS
from tests.doubles.provider.naming import named
from tests.unit.infra.clouds.aws.deployed import Deployed

ARN = "arn:aws:iam::123456789012:role/llm-prod-0123abcd-timetable"
KEY = "arn:aws:kms:ap-northeast-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
WEEKLY = ', weekly: {start: "08:00", stop: "20:00", time_zone: Asia/Seoul}'
BUDGET = ", budget: {usd_per_month: 100, mail: team@example.com}"
ALL = (
    f"storage: {{kms_key: '{KEY}', bucket: {{prefix: models/}}, keep_on_down: [bucket], data_mib_per_s: 1000}}\n"
    "    iam: {permissions_boundary: 'arn:aws:iam::123456789012:policy/a/b', path: /llm/}"
)


class Asked:
    """Checks each request to AWS, and answers with a mock."""

    account, region = "123456789012", "ap-northeast-2"

    def __init__(self) -> None:
        self.operations: set[str] = set()
        self.checked = 0

    def call(self, service: str, method: str, _doing: str, **arguments: Any) -> Any:
        self.operations.add(f"{service}:{operation_of(method)}")
        if "MagicMock" not in str(arguments):  # a mock in them comes from an earlier answer
            refuse_request(service, method, arguments)
            self.checked += 1
        return MagicMock()

    def found(self, service: str, method: str, _missing: Any, **arguments: Any) -> Any:
        return self.call(service, method, "", **arguments)


def real(value: Any) -> Any:
    """Return inputs with an ARN in place of a name that the mocks made up."""
    if isinstance(value, dict):
        return {key: real(each) for key, each in value.items()}
    if isinstance(value, list):
        return [real(each) for each in value]
    return ARN if isinstance(value, str) and value.endswith("-arn") else value


@pytest.mark.parametrize(
    ("machine", "more"),
    [
        pytest.param("type: m6i.2xlarge", {}, id="plain"),
        pytest.param("type: m6i.2xlarge, count: 3", {"more": ALL, "lifetime": WEEKLY + BUDGET}, id="all options"),
        pytest.param(
            "type: g5.xlarge, market: spot, spot_max_usd_per_hour: 0.5", {"machine_type": "g5.xlarge"}, id="spot"
        ),
        pytest.param("type: t3.xlarge", {"machine_type": "t3.xlarge"}, id="credits"),
        pytest.param("type: m6i.2xlarge", {"stack": "s" * 40, "more": ALL, "lifetime": WEEKLY}, id="longest name"),
        pytest.param("type: m6i.2xlarge", {"stack": "sg-mine", "more": ALL}, id="a name like an id"),
    ],
)
def test_aws_accepts_every_request(deployed: Deployed, machine: str, more: dict[str, Any]) -> None:
    stack, kinds, cloud = str(more.get("stack", "prod")), {each.token: each for each in KINDS}, Asked()
    tags = {"team": "한국 R+D 7"} | own_tags(stack, "0123abcd")

    for token, name, given in deployed(machine, **more).all():
        if token in kinds:
            inputs = named(kinds[token].rules, given, name)
            kinds[token].create(cloud, real(with_tags(token, name, inputs, tags)))  # type: ignore[arg-type]  # as asked

    assert {"ec2:RunInstances", "iam:CreateRole", "scheduler:CreateSchedule", "ec2:CreateVolume"} <= cloud.operations
    assert cloud.checked > 25
