"""The limits of a cloud's network and its notation of ranges."""

from typing import Any

import pytest

from core.errors import ConfigError
from infra.config import DeploymentConfig, parse_deployment
from infra.config.rules.network_limits import MAX_RANGES, MAX_RULES


def config(base: Any, **network: Any) -> DeploymentConfig:
    return parse_deployment(base | {"network": network}, "a test")


def ranges(count: int, start: str = "198.18") -> list[str]:
    return [f"{start}.{number // 256}.{number % 256}/32" for number in range(count)]


def six(count: int) -> list[str]:
    return [f"2001:2:{number:x}::/48" for number in range(count)]


def test_a_security_group_allows_sixty_rules_per_ip_version(bases: Any) -> None:
    """AWS refused the sixty-first rule in the middle of `up`."""
    fits = config(bases["aws"], ssh_cidrs=[*ranges(20), *six(30)], client_cidrs=[*ranges(40), *six(30)])
    assert len(fits.network.ssh_cidrs) + len(fits.network.client_cidrs) == 2 * MAX_RULES

    with pytest.raises(ConfigError) as caught:
        config(bases["aws"], ssh_cidrs=ranges(20), client_cidrs=ranges(41))
    assert str(caught.value) == (
        "a test: network: 20 ranges of IPv4 for SSH and 41 for clients make 61 rules, and a security group allows 60; "
        "write fewer, wider ranges"
    )
    with pytest.raises(ConfigError, match="60 ranges of IPv6 for SSH and 1 for clients make 61 rules"):
        config(bases["aws"], ssh_cidrs=six(60), clients_from_anywhere=True)


def test_a_gcp_firewall_rule_allows_five_thousand_ranges(bases: Any) -> None:
    config(bases["gcp"], ssh_cidrs=ranges(MAX_RANGES), clients_from_anywhere=True)

    with pytest.raises(ConfigError, match=r"ssh_cidrs: has 5001 ranges of IPv4, and a firewall rule allows 5000"):
        config(bases["gcp"], ssh_cidrs=ranges(MAX_RANGES + 1), clients_from_anywhere=True)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8:0:0:0:0:0:0/64", "2001:db8::/64"),
        ("::ffff:198.51.100.7/128", "198.51.100.7/32"),
        ("198.51.0.0/255.255.0.0", "198.51.0.0/16"),
        ("198.51.100.0/24", "198.51.100.0/24"),
    ],
)
def test_a_range_is_stored_in_the_notation_of_the_clouds(bases: Any, written: str, kept: str) -> None:
    """AWS answers in its own notation, so another one in the file always showed a diff."""
    network = config(bases["aws"], ssh_cidrs=[written], client_cidrs=[written]).network

    assert network.ssh_cidrs == network.client_cidrs == (kept,)


def test_the_range_of_a_new_network_is_stored_in_that_notation(bases: Any) -> None:
    network = {"ssh_cidrs": ["198.18.0.7/32"], "client_cidrs": ["198.18.0.0/24"], "cidr": "10.83.0.0/255.255.0.0"}

    assert config(bases["aws"], **network).network.cidr == "10.83.0.0/16"
