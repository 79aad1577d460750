"""What the program exports of local machines."""

from infra.clouds.local.deploy import with_networks
from infra.config.models.network import NetworkSpec

HOST = {"name": "one-1", "address": "10.213.0.2"}


def test_who_may_reach_a_machine_travels_with_it() -> None:
    network = NetworkSpec(ssh_cidrs=("10.213.0.0/16",), client_cidrs=("192.168.0.0/24",))
    assert with_networks([HOST], network, {}) == [
        {**HOST, "ssh_cidrs": ["10.213.0.0/16"], "client_cidrs": ["192.168.0.0/24"]}
    ]


def test_nothing_written_means_anyone_who_can_route_there() -> None:
    assert with_networks([HOST], NetworkSpec(), {"one-1": "main"}) == [HOST]


def test_a_host_that_a_preview_does_not_know_yet_is_left_out() -> None:
    assert with_networks([None, HOST], NetworkSpec(client_cidrs=("192.168.0.0/24",)), {})[0]["name"] == "one-1"


def test_a_host_of_another_pool_names_it() -> None:
    assert with_networks([HOST], NetworkSpec(), {"one-1": "large"}) == [{**HOST, "pool": "large"}]
