"""Preflight on AWS: each thing that can be wrong, beside the others, with what to do. AWS's answers are canned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from core.errors import DeployError, UsageError
from infra.aws import api
from infra.config import DeploymentConfig, parse_deployment
from infra.finding import Finding
from infra.lease import Lease
from infra.preflight import findings, refuse
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.preflight.canned_aws import (
    GOOD,
    OWN,
    QUOTAS,
    A,
    Answers,
    C,
    CannedAws,
    instance,
    refused,
    running,
)
from tests.unit.infra.preflight.wrong_aws import WRONG


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Finding]]:
    """Look at a stack of one g5.xlarge, with some answers, quotas and values of the file changed."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))

    def run(
        answers: Answers | None = None,
        quotas: dict[str, float] | None = None,
        machine: str = "type: g5.xlarge, fallbacks: [g6.xlarge]",
        lease: Lease | None = None,
        **values: Any,
    ) -> list[Finding]:
        cloud = CannedAws(GOOD | (answers or {}), QUOTAS | (quotas or {}))
        monkeypatch.setattr(api, "client", lambda _service, _region: cloud)
        return findings(config(machine, **values), "prod", lease)

    return run


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


def lease(**changes: Any) -> Lease:
    values: dict[str, Any] = {
        "id": OWN, "region": "ap-northeast-2", "began_at": "2026-11-21T12:00:00Z", "image_name": "ubuntu-24.04",
        "image": "ami-0a24040000000000a", "machine_type": "g5.xlarge", "zone": A, "zones": [A, C],
    }  # fmt: skip
    return Lease.model_validate(values | changes)


def test_a_good_day_has_a_price_by_the_hour_and_by_the_month(look: Callable[..., list[Finding]]) -> None:
    found = look()

    assert wrong(found) == wrong(found, "warning") == []
    (price,) = [each for each in found if each.about == "price"]
    assert price.what == "$1.252 an hour, $914 a month of 730 h"
    assert "arn:aws:iam::123456789012:user/kim" in [each.what for each in found]


@pytest.mark.parametrize(("change", "line"), WRONG)
def test_what_is_wrong_is_told_with_what_to_do(
    look: Callable[..., list[Finding]], change: dict[str, Any], line: str
) -> None:
    change = dict(change)
    assert wrong(look(**change.pop("values", {}), **change)) == [line]


VPC, SUBNET = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0"
INTERNET, LOCAL = {"GatewayId": "igw-0a"}, {"GatewayId": "local"}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        pytest.param([{"Routes": [LOCAL, INTERNET], "Associations": [{"SubnetId": SUBNET}]}], [], id="public"),
        pytest.param([{"Routes": [LOCAL, INTERNET], "Associations": [{"Main": True}]}], [], id="by the main table"),
        pytest.param(
            [
                {"Routes": [LOCAL, INTERNET], "Associations": [{"Main": True}]},
                {"Routes": [LOCAL], "Associations": [{"SubnetId": SUBNET}]},
            ],
            [
                f"network.subnets[0]: {SUBNET} has no route to an internet gateway: its hosts' public addresses would "
                "not answer; name a public subnet, or add the route"
            ],
            id="private",
        ),
    ],
)
def test_hosts_need_a_public_subnet(look: Callable[..., list[Finding]], tables: list[Any], told: list[str]) -> None:
    answers = {
        "describe_subnets": {"Subnets": [{"SubnetId": SUBNET, "VpcId": VPC, "AvailabilityZone": A}]},
        "describe_route_tables": {"RouteTables": tables},
    }

    assert wrong(look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])) == told
    assert wrong(look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A, C])) == [
        f"zones[1]: {C} has none of network.subnets; theirs are {A}",
        *told,
    ]


def test_a_key_without_its_public_half_is_told(look: Callable[..., list[Finding]], tmp_path: Path) -> None:
    private = tmp_path / "id_ed25519"
    private.write_text("a key")
    private.chmod(0o600)

    (told,) = wrong(look(machine=f"type: g5.xlarge, identity_file: {private}"))

    assert told == f"machine.identity_file: {private}.pub: cannot be read; " + (
        f"make it with `ssh-keygen -y -f {private} > {private}.pub`"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"account": "999999999999"}, "login: arn:aws:iam::123456789012:user/kim is not of account 999999999999"),
        ({"region": "us-east-1"}, "region: ap-northeast-2 is not where the stack stands: that is us-east-1"),
    ],
    ids=["account", "region"],
)
def test_a_stack_stays_where_it_lies(look: Callable[..., list[Finding]], changes: dict[str, str], told: str) -> None:
    (line,) = wrong(look(lease=lease(**changes)))

    assert line.startswith(told)


def test_all_that_is_wrong_is_told_at_once(look: Callable[..., list[Finding]]) -> None:
    found = look(
        {"describe_images": {"Images": []}, "describe_instance_type_offerings": ()},
        {"L-DB2E81BA": 0.0, "L-0263D0A3": 0.0},
        account="999999999999",
    )

    with pytest.raises(DeployError, match="preflight of stack prod: 5 things are wrong") as caught:
        refuse(found, "prod")
    assert len(caught.value.detail.splitlines()) == 5


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(NoCredentialsError(), "there are none", id="none"),
        pytest.param(refused("ExpiredToken"), "have expired", id="expired"),
        pytest.param(refused("InvalidClientTokenId"), "are not valid", id="not valid"),
        pytest.param(refused("SignatureDoesNotMatch"), "do not belong together", id="secret of another key"),
    ],
)
def test_without_a_login_nothing_else_is_asked(
    look: Callable[..., list[Finding]], answer: Exception, told: str
) -> None:
    with pytest.raises(UsageError, match=f"AWS credentials: {told}; log in anew"):
        look({"get_caller_identity": answer})


def test_what_may_not_be_asked_is_a_warning_and_the_rest_goes_on(look: Callable[..., list[Finding]]) -> None:
    answers = {"describe_images": refused("UnauthorizedOperation", "DescribeImages")}
    found = look(answers, {"L-DB2E81BA": 0.0}, machine="type: g5.xlarge")

    (warning,) = wrong(found, "warning")
    assert warning.startswith("AWS DescribeImages: could not be asked: is not allowed")
    assert len(wrong(found)) == 1


def test_fallbacks_that_cannot_be_had_are_warnings(look: Callable[..., list[Finding]]) -> None:
    machine = "type: g5.xlarge, fallbacks: [g6.xlarge, g5.4xlarge]"
    found = look({"describe_instance_type_offerings": (("g5.xlarge", A), ("g5.4xlarge", A))}, machine=machine)

    assert wrong(found) == []
    assert [each.partition(":")[0] for each in wrong(found, "warning")] == [
        "machine.fallbacks[0]",
        "machine.fallbacks[1] (g5.4xlarge)",
    ]


def test_the_share_of_the_stack_itself_is_not_in_the_way(look: Callable[..., list[Finding]]) -> None:
    """A stack that stands may grow into what its own machines hold."""
    tagged = {"Tags": instance("g5.xlarge", own=True)["Tags"]}
    answers = {
        "describe_instances": running(instance("g5.xlarge", own=True), instance("g5.xlarge", spot=True)),
        "describe_addresses": {"Addresses": [tagged, {}, {}, {}, {}]},
        "describe_vpcs": {"Vpcs": [tagged, {}, {}, {}, {}]},
    }

    assert wrong(look(answers, machine="type: g5.2xlarge", lease=lease())) == [
        f"machine.type: g5.2xlarge is not offered in {A}, {C}; take another type or region"
    ]


def test_a_recorded_image_is_looked_at_and_not_looked_up(look: Callable[..., list[Finding]]) -> None:
    found = look({"get_parameters": AssertionError("was asked")}, lease=lease())

    assert "ubuntu-24.04 is ami-0a24040000000000a (recorded)" in [each.what for each in found]


def test_nobody_comes_from_the_addresses_of_our_stack_files(look: Callable[..., list[Finding]]) -> None:
    found = look(network={"ssh_cidrs": ["203.0.113.7/32"], "client_cidrs": ["203.0.113.0/24"]})

    assert wrong(found) == [
        f"network.{key}: {cidr} is an address for documentation: nobody has it; write your own with /32 behind it, as "
        "`curl -s https://checkip.amazonaws.com` prints it"
        for key, cidr in (("ssh_cidrs[0]", "203.0.113.7/32"), ("client_cidrs[0]", "203.0.113.0/24"))
    ]
