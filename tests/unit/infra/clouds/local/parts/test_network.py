"""Which /30 a machine gets, and which firewalls need a rule for it."""

import ipaddress

import pytest

from core.errors import HostError
from infra.clouds.local.parts.network import RANGE, Network, choose_index, foreign_forward_chains, subnet, subnet_count

ID = "0000002a"


def test_addresses_lie_inside_the_machine_s_own_four() -> None:
    net = Network(ID, 42)
    assert str(net.subnet) == "10.213.0.168/30"
    assert (net.gateway, net.address) == ("10.213.0.169", "10.213.0.170")


def test_the_last_subnet_is_inside_the_range() -> None:
    assert subnet(subnet_count() - 1).broadcast_address == RANGE.broadcast_address


@pytest.mark.parametrize(
    ("taken", "routes", "index"),
    [
        pytest.param(set(), [], 42, id="the one the id falls on"),
        pytest.param({42, 43}, [], 44, id="others took it and the next"),
        pytest.param(set(), ["10.213.0.160/28"], 44, id="this host has a route there"),
        pytest.param(set(), ["192.168.0.0/16", "10.214.0.0/16"], 42, id="routes elsewhere do not matter"),
        pytest.param(set(range(42, subnet_count())), [], 0, id="round the end"),
    ],
)
def test_a_free_subnet_is_chosen(taken: set[int], routes: list[str], index: int) -> None:
    assert choose_index(ID, taken, [ipaddress.IPv4Network(route) for route in routes]) == index


@pytest.mark.parametrize("route", ["10.0.0.0/8", "10.213.0.0/16"])
def test_a_full_range_is_reported(route: str) -> None:
    with pytest.raises(HostError, match=r"no /30 of 10\.213\.0\.0/16 is free"):
        choose_index(ID, set(), [ipaddress.IPv4Network(route)])


def test_names_of_two_machines_differ() -> None:
    one, two = Network("0000002a", 1), Network("0000002b", 1)
    assert one.interface != two.interface
    assert one.namespace != two.namespace
    assert one.table != two.table


def chain(**values: str) -> dict[str, dict[str, str]]:
    return {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", **values}}


@pytest.mark.parametrize(
    ("item", "opened"),
    [
        pytest.param(chain(policy="drop"), True, id="drops what it does not know"),
        pytest.param(chain(policy="drop", family="inet"), True, id="for both families"),
        pytest.param(chain(policy="accept"), False, id="lets all pass"),
        pytest.param(chain(policy="drop", hook="input"), False, id="not a forward chain"),
        pytest.param(chain(policy="drop", family="ip6"), False, id="another address family"),
        pytest.param({"table": {"family": "ip", "name": "filter"}}, False, id="no chain"),
    ],
)
def test_only_chains_that_drop_are_opened(item: dict[str, dict[str, str]], opened: bool) -> None:
    assert foreign_forward_chains([item]) == ([(item["chain"]["family"], "filter", "FORWARD")] if opened else [])
