"""Preflight on AWS: an existing network's subnets, their addresses and routes out."""

from typing import Any

import pytest

from tests.unit.infra.clouds.preflight.canned_aws import A, Answers, C, Look, placement, refused, wrong

VPC, SUBNET = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0"


LOCAL = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}


ENDPOINT = {"DestinationPrefixListId": "pl-0a", "GatewayId": "vpce-0a", "State": "active"}
"""The route that a gateway endpoint for S3 adds to each table."""


def way(target: str, key: str = "GatewayId", to: str = "0.0.0.0/0", state: str = "active") -> dict[str, str]:
    """Return a route as EC2 describes it."""
    return {"DestinationCidrBlock": to, key: target, "State": state}


INTERNET = way("igw-0a")


def test_a_second_subnet_of_a_zone_is_reported_as_unused(look: Look) -> None:
    second = SUBNET[:-1] + "1"
    seen = [{"SubnetId": each, "VpcId": VPC, "AvailabilityZone": A} for each in (SUBNET, second)]
    tables = [{"Routes": [INTERNET], "Associations": [{"Main": True}]}]
    answers = {"describe_subnets": {"Subnets": seen}, "describe_route_tables": {"RouteTables": tables}}

    found = look(answers, network__id=VPC, network__subnets=[SUBNET, second], zones=[A])

    line, *_others = [str(each) for each in found if each.about == "network.subnets[1]"]
    assert line.startswith(f"network.subnets[1]: {second} is in {A}, like {SUBNET}; a stack uses only the first")


@pytest.mark.parametrize(
    ("tables", "reported"),
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
                "not answer; write a public subnet, or add the route"
            ],
            id="private",
        ),
    ],
)
def test_hosts_need_a_public_subnet(look: Look, tables: list[Any], reported: list[str]) -> None:
    answers = {"describe_subnets": {"Subnets": [THERE]}, "describe_route_tables": {"RouteTables": tables}}

    assert wrong(look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])) == reported
    assert wrong(look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A, C])) == [
        f"zones[1]: no subnet of network.subnets is in {C}; write one of their zones: {A}",
        *reported,
    ]


THERE = {"SubnetId": SUBNET, "VpcId": VPC, "AvailabilityZone": A}


@pytest.mark.parametrize(
    ("routes", "level", "reported"),
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
            [way("igw-0f", state="blackhole")],
            "error",
            "to igw-0f, which no longer exists (blackhole)",
            id="gateway deleted",
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
def test_an_unknown_kind_of_route_out_is_a_warning(look: Look, routes: list[Any], level: str, reported: str) -> None:
    """A subnet behind a firewall's endpoint was refused with "has no route to an internet gateway"."""
    tables = {"RouteTables": [{"Routes": [LOCAL, ENDPOINT, *routes], "Associations": [{"SubnetId": SUBNET}]}]}
    answers = {"describe_subnets": {"Subnets": [THERE]}, "describe_route_tables": tables}

    found = look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])

    about = [each for each in found if each.about == "network.subnets[0]"]
    assert [each.level for each in about] == ([level] if level else [])
    assert all(reported in each.what for each in about)


def test_a_subnet_needs_an_address_for_each_machine(look: Look) -> None:
    tables = {"RouteTables": [{"Routes": [LOCAL, INTERNET], "Associations": [{"Main": True}]}]}
    answers: Answers = {
        "describe_subnets": {"Subnets": [THERE | {"AvailableIpAddressCount": 2}]},
        "describe_route_tables": tables,
        "describe_network_interfaces": {"NetworkInterfaces": [{}]},
    }
    values: dict[str, Any] = {"network__id": VPC, "network__subnets": [SUBNET], "zones": [A]}
    quotas: dict[str, float | None] = {"L-1216C47A": 256.0}

    assert wrong(look(answers, quotas, "type: m6i.2xlarge, count: 3", **values))[-1] == (
        f"network.subnets[0]: {SUBNET} has 2 addresses free, and the stack needs 3; "
        "write a larger subnet, or fewer machines"
    )
    with_own = look(answers, quotas, "type: m6i.2xlarge, count: 3", placement=placement(), **values)
    assert not [each for each in wrong(with_own) if "addresses free" in each]


def test_denied_routes_do_not_hide_a_subnet(look: Look) -> None:
    answers = {"describe_route_tables": refused("UnauthorizedOperation", "DescribeRouteTables")}

    found = look(answers, network__id=VPC, network__subnets=[SUBNET], zones=[A])

    assert wrong(found) == [f"network.subnets[0]: {SUBNET} does not exist in ap-northeast-2; write an existing one"]
    assert "ask for ec2:DescribeRouteTables" in " ".join(wrong(found, "warning"))
