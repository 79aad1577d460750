"""Preflight on AWS: each thing that can be wrong, beside the others, with what to do. AWS's answers are canned."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    NoCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from core.errors import DeployError, UsageError
from infra.aws import api
from infra.config import DeploymentConfig, parse_deployment
from infra.finding import Finding
from infra.lease import Lease
from infra.preflight import findings, refuse
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.preflight import canned_aws
from tests.unit.infra.preflight.canned_aws import (
    GOOD,
    OWN,
    QUOTAS,
    A,
    Answers,
    C,
    InRegion,
    instance,
    refused,
    running,
)
from tests.unit.infra.preflight.wrong_aws import WRONG, image


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Finding]]:
    """Look at a stack of one g5.xlarge, with some answers, quotas and values of the file changed."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))

    def run(
        answers: Answers | None = None,
        quotas: dict[str, float | None] | None = None,
        machine: str = "type: g5.xlarge, fallbacks: [g6.xlarge]",
        lease: Lease | None = None,
        **values: Any,
    ) -> list[Finding]:
        told, limits = GOOD | (answers or {}), QUOTAS | (quotas or {})
        monkeypatch.setattr(api, "client", lambda *which: canned_aws.CannedAws(told, limits, *which))
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


@pytest.mark.parametrize(
    ("states", "level"), [({C: "impaired"}, "warning"), ({A: "impaired", C: "impaired"}, "error")], ids=["one", "all"]
)
def test_a_zone_that_is_impaired_is_in_the_way_only_without_another(
    look: Callable[..., list[Finding]], states: dict[str, str], level: str
) -> None:
    zones = [{"ZoneName": zone, "State": states.get(zone, "available")} for zone in (A, C)]

    found = look({"describe_availability_zones": {"AvailabilityZones": zones}})

    assert f"zones: {C} is impaired; name other zones, or try later" in wrong(found, level)
    assert bool(wrong(found)) is (level == "error")


@pytest.mark.parametrize(("stands", "level"), [(True, "warning"), (False, "error")])
def test_hosts_that_stand_need_no_image(look: Callable[..., list[Finding]], stands: bool, level: str) -> None:
    """The image of a stack that stands was deleted by its maker: preflight called the stack wrong."""
    found = look({"describe_images": {"Images": []}}, lease=lease(stands=stands))

    (line,) = [str(each) for each in found if each.about == "machine.image" and each.level == level]
    assert "ami-0a24040000000000a is not there in ap-northeast-2" in line


VPC, SUBNET = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0"
LOCAL = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}
ENDPOINT = {"DestinationPrefixListId": "pl-0a", "GatewayId": "vpce-0a", "State": "active"}
"""What a gateway endpoint for S3 puts into each table."""


def way(target: str, key: str = "GatewayId", to: str = "0.0.0.0/0", state: str = "active") -> dict[str, str]:
    """Return a route as EC2 describes it."""
    return {"DestinationCidrBlock": to, key: target, "State": state}


INTERNET = way("igw-0a")


def test_a_second_subnet_of_a_zone_is_told_to_be_of_no_use(look: Callable[..., list[Finding]]) -> None:
    second = SUBNET[:-1] + "1"
    seen = [{"SubnetId": each, "VpcId": VPC, "AvailabilityZone": A} for each in (SUBNET, second)]
    tables = [{"Routes": [INTERNET], "Associations": [{"Main": True}]}]
    answers = {"describe_subnets": {"Subnets": seen}, "describe_route_tables": {"RouteTables": tables}}

    found = look(answers, network__id=VPC, network__subnets=[SUBNET, second], zones=[A])

    line, *_others = [str(each) for each in found if each.about == "network.subnets[1]"]
    assert line.startswith(f"network.subnets[1]: {second} is in {A}, as {SUBNET} is: a stack uses one subnet in a zone")


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        pytest.param([{"Routes": [LOCAL, INTERNET], "Associations": [{"SubnetId": SUBNET}]}], [], id="public"),
        pytest.param([{"Routes": [LOCAL, INTERNET], "Associations": [{"Main": True}]}], [], id="by the main table"),
        pytest.param(
            [
                {"Routes": [LOCAL, INTERNET], "Associations": [{"Main": True}]},
                {"Routes": [LOCAL, ENDPOINT], "Associations": [{"SubnetId": SUBNET}]},
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
    answers = {"describe_subnets": {"Subnets": [THERE]}, "describe_route_tables": {"RouteTables": tables}}

    assert wrong(look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])) == told
    assert wrong(look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A, C])) == [
        f"zones[1]: {C} has none of network.subnets; theirs are {A}",
        *told,
    ]


THERE = {"SubnetId": SUBNET, "VpcId": VPC, "AvailabilityZone": A}


@pytest.mark.parametrize(
    ("routes", "level", "told"),
    [
        pytest.param([way("vpce-0f")], "warning", "sends 0.0.0.0/0 through vpce-0f", id="firewall"),
        pytest.param([way("tgw-0f", "TransitGatewayId")], "warning", "0.0.0.0/0 through tgw-0f", id="transit gateway"),
        pytest.param([way("eni-0f", "NetworkInterfaceId")], "warning", "0.0.0.0/0 through eni-0f", id="appliance"),
        pytest.param([way("vgw-0f")], "warning", "0.0.0.0/0 through vgw-0f", id="VPN"),
        pytest.param([way("pcx-0f", "VpcPeeringConnectionId")], "warning", "0.0.0.0/0 through pcx-0f", id="peering"),
        pytest.param(
            [{"DestinationPrefixListId": "pl-1", "TransitGatewayId": "tgw-0f", "State": "active"}],
            "warning",
            "sends pl-1 through tgw-0f",
            id="prefix list",
        ),
        pytest.param(
            [way("nat-0f", "NatGatewayId")],
            "error",
            "sends 0.0.0.0/0 through nat-0f: its hosts' public addresses would not answer",
            id="NAT",
        ),
        pytest.param(
            [way("igw-0f", state="blackhole")], "error", "to igw-0f, which is gone (blackhole)", id="gateway gone"
        ),
        pytest.param(
            [way("nat-0f", "NatGatewayId"), way("igw-0f", to="198.18.0.0/15")], "", "", id="NAT, clients by the gateway"
        ),
        pytest.param(
            [way("igw-0f"), way("tgw-0f", "TransitGatewayId", to="198.18.0.0/24")],
            "warning",
            "sends 198.18.0.0/24 through tgw-0f",
            id="clients by another way",
        ),
    ],
)
def test_a_way_out_that_nobody_can_judge_is_a_warning(
    look: Callable[..., list[Finding]], routes: list[Any], level: str, told: str
) -> None:
    """A subnet behind a firewall's endpoint was refused with "has no route to an internet gateway"."""
    tables = {"RouteTables": [{"Routes": [LOCAL, ENDPOINT, *routes], "Associations": [{"SubnetId": SUBNET}]}]}
    answers = {"describe_subnets": {"Subnets": [THERE]}, "describe_route_tables": tables}

    found = look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])

    about = [each for each in found if each.about == "network.subnets[0]"]
    assert [each.level for each in about] == ([level] if level else [])
    assert all(told in each.what for each in about)


def test_a_subnet_needs_an_address_for_each_machine(look: Callable[..., list[Finding]]) -> None:
    tables = {"RouteTables": [{"Routes": [LOCAL, INTERNET], "Associations": [{"Main": True}]}]}
    answers: Answers = {
        "describe_subnets": {"Subnets": [THERE | {"AvailableIpAddressCount": 2}]},
        "describe_route_tables": tables,
        "describe_network_interfaces": {"NetworkInterfaces": [{}]},
    }
    values: dict[str, Any] = {"network__id": VPC, "network__subnets": [SUBNET], "zones": [A]}
    quotas: dict[str, float | None] = {"L-1216C47A": 256.0}

    assert wrong(look(answers, quotas, "type: m6i.2xlarge, count: 3", **values))[-1] == (
        f"network.subnets[0]: {SUBNET} has 2 addresses free, and 3 machines are asked; name a larger subnet, or fewer "
        "machines"
    )
    with_own = look(answers, quotas, "type: m6i.2xlarge, count: 3", lease=lease(), **values)
    assert not [each for each in wrong(with_own) if "addresses free" in each]


def test_routes_that_may_not_be_asked_hide_no_subnet(look: Callable[..., list[Finding]]) -> None:
    answers = {"describe_route_tables": refused("UnauthorizedOperation", "DescribeRouteTables")}

    found = look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])

    assert wrong(found) == [f"network.subnets[0]: {SUBNET} is not there in ap-northeast-2; write one that is"]
    assert "ask for ec2:DescribeRouteTables" in " ".join(wrong(found, "warning"))


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
        pytest.param(NoCredentialsError(), "AWS credentials: there are none; log in", id="none"),
        pytest.param(refused("ExpiredToken"), "AWS credentials: have expired; log in", id="expired"),
        pytest.param(
            refused("RequestExpired", date=format_datetime(datetime.now(UTC))),
            "AWS credentials: have expired; log in",
            id="expired, as EC2 says it",
        ),
        pytest.param(
            refused("RequestExpired"),
            "AWS credentials: have expired, or this computer's clock is wrong; log in",
            id="expired, or the clock",
        ),
        pytest.param(refused("InvalidClientTokenId"), "AWS credentials: are not valid; log in", id="not valid"),
        pytest.param(
            refused("SignatureDoesNotMatch"), "AWS credentials: do not belong together", id="secret of another key"
        ),
        pytest.param(
            refused("SignatureDoesNotMatch", message="Signature expired: 20261129T1 is now earlier than 20261129T2"),
            "this computer's clock: is wrong (Signature expired: 20261129T1",
            id="clock, by the message",
        ),
        pytest.param(
            refused("AuthFailure", date=format_datetime(datetime.now(UTC) + timedelta(hours=1))),
            "this computer's clock: is 60 minutes behind that of AWS, which refuses it; set it",
            id="clock, as EC2 says it",
        ),
        pytest.param(refused("RequestTimeTooSkewed"), "this computer's clock: is wrong", id="clock, as S3 says it"),
        pytest.param(
            UnauthorizedSSOTokenError(),
            "AWS credentials: the SSO session has expired, or there is none",
            id="SSO session over",
        ),
        pytest.param(
            TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            "AWS credentials: the SSO session has expired, or there is none",
            id="SSO token over",
        ),
        pytest.param(
            CredentialRetrievalError(provider="custom-process", error_msg="exit\n1"),
            "AWS credentials: the program that a profile names for them failed",
            id="program of a profile",
        ),
        pytest.param(
            refused("OptInRequired", message="You are not subscribed to this service."),
            "AWS account: may not use the service: OptInRequired: You are not subscribed",
            id="account not finished",
        ),
    ],
)
def test_without_a_login_nothing_else_is_asked(
    look: Callable[..., list[Finding]], answer: Exception, told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        look({"get_caller_identity": answer})


@pytest.mark.parametrize(
    "code", ["AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "OptInRequired"]
)
@pytest.mark.parametrize(
    ("regions", "told"),
    [
        pytest.param(
            refused("UnauthorizedOperation", "DescribeRegions"),
            "region: ap-northeast-2 is not enabled in this account; `aws account enable-region",
            id="which may not be asked",
        ),
        pytest.param(
            GOOD["describe_regions"],
            "region: ap-northeast-2 refuses the login, which us-east-1 takes; a session must come from",
            id="session of the global STS",
        ),
    ],
)
def test_a_region_that_refuses_a_good_login_is_told_from_a_wrong_login(
    look: Callable[..., list[Finding]], code: str, regions: Any, told: str
) -> None:
    """A region that is not opted in was read as "credentials are not valid; log in anew"."""
    identity = InRegion({"us-east-1": GOOD["get_caller_identity"], "ap-northeast-2": refused(code)})

    (line,) = wrong(look({"get_caller_identity": identity, "describe_regions": regions}))

    assert line.startswith(told)


def test_regions_that_may_not_be_asked_stop_nothing(look: Callable[..., list[Finding]]) -> None:
    """An organisation's policy that denies us-east-1 stopped all of preflight."""
    found = look({"describe_regions": refused("UnauthorizedOperation", "DescribeRegions")})

    assert wrong(found) == []
    assert wrong(found, "warning") == [
        "region: could not be asked: is not allowed (no); ask for ec2:DescribeRegions, or use another login"
    ]
    assert len(found) > len(wrong(found, "warning")) + 5


def test_a_role_that_a_profile_may_not_take_is_a_matter_of_the_login() -> None:
    login = Mock()
    login.get_frozen_credentials.side_effect = refused("AccessDenied", "AssumeRole", "not authorized")

    with pytest.raises(UsageError, match=r"AWS credentials: AssumeRole is refused \(not authorized\)"):
        api._log_in(Mock(get_credentials=lambda: login))


def test_what_may_not_be_asked_is_a_warning_and_the_rest_goes_on(look: Callable[..., list[Finding]]) -> None:
    answers = {"describe_images": refused("UnauthorizedOperation", "DescribeImages")}
    found = look(answers, {"L-DB2E81BA": 0.0}, machine="type: g5.xlarge")

    (warning,) = wrong(found, "warning")
    assert warning.startswith("AWS DescribeImages: could not be asked: is not allowed")
    assert len(wrong(found)) == 1


def test_a_quota_without_an_entry_is_aws_default_and_hides_no_other(look: Callable[..., list[Finding]]) -> None:
    """GetServiceQuota answers NoSuchResource for a quota that nobody ever changed: addresses and VPCs went unasked."""
    found = look({"describe_vpcs": {"Vpcs": [{}] * 5}}, {"L-DB2E81BA": None}, machine="type: g5.xlarge")

    lines = wrong(found)
    assert lines[0].startswith("quota L-DB2E81BA (on-demand G and VT instances): 0 vCPUs (AWS's default), 0 in use, 4")
    assert lines[1].startswith("quota L-F678F1CE (networks): 5 VPCs, 5 in use, 1 asked")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("denied", "permission"),
    [
        ("get_service_quota", "servicequotas:GetServiceQuota"),
        ("describe_instances", "ec2:DescribeInstances"),
        ("describe_addresses", "ec2:DescribeAddresses"),
    ],
)
def test_each_quota_is_asked_by_itself(look: Callable[..., list[Finding]], denied: str, permission: str) -> None:
    operation = "".join(word.title() for word in denied.split("_"))
    found = look({denied: refused("AccessDenied", operation), "describe_vpcs": {"Vpcs": [{}] * 5}})

    assert any(f"ask for {permission}" in each for each in wrong(found, "warning"))
    if denied != "get_service_quota":
        assert [each.partition(" (")[0] for each in wrong(found)] == ["quota L-F678F1CE"]


def test_a_deprecated_image_can_still_be_started(look: Callable[..., list[Finding]]) -> None:
    """It was "not there": a search by filter leaves out what others deprecated. What is asked for by id is there."""
    asked: dict[str, Any] = {}

    class Asked(canned_aws.CannedAws):
        def describe_images(self, **arguments: Any) -> Any:
            asked.update(arguments)
            return image(DeprecationTime="2026-01-31T00:00:00.000Z")

    with patch.object(canned_aws, "CannedAws", Asked):
        found = look()

    assert asked == {"ImageIds": ["ami-0a24040000000000a"], "IncludeDeprecated": True, "IncludeDisabled": True}
    assert wrong(found) == []
    assert wrong(found, "warning") == [
        "machine.image: ami-0a24040000000000a is deprecated since 2026-01-31: it works until its owner 099720109477 "
        "removes it; write a newer image for the next host"
    ]


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


def test_a_page_of_html_in_place_of_an_answer_is_no_traceback(look: Callable[..., list[Finding]]) -> None:
    found = look({"describe_images": ResponseParserError("Unable to parse response")})

    assert wrong(found) == []
    assert wrong(found, "warning") == [
        "AWS ec2: could not be asked: was answered with something that AWS does not write, a page of HTML perhaps; is "
        "a proxy in between? try again"
    ]
