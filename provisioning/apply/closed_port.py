"""Warns after a provision about another firewall that keeps the gateway's port closed. Changes nothing."""

from collections.abc import Mapping

from catalog.clouds import MADE
from core.console import say
from core.errors import DeployError
from core.ports import DOOR_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.result import HostResult
from provisioning.hosts.parallel import on_each
from provisioning.hosts.topology import HostRole, Topology
from provisioning.programs.firewall import other_firewalls
from provisioning.roles.host.layout import GATEWAY_UNIT
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget


def mention_closed_port(outputs: StackOutputs, results: Mapping[str, HostResult], *, at_once: int) -> None:
    """Print the firewall that blocks a gateway of this run; `results` are by the host's name.

    Only existing hosts are queried: the others have no firewall but ours. A query that fails is ignored, since the
    provision has succeeded; `status` queries again.
    """
    started = f"unit:{GATEWAY_UNIT}"
    hosts = [
        host
        for host in outputs.hosts
        if host.cloud not in MADE
        and host.name in results
        and any(outcome.id == started for outcome in results[host.name].changed)
    ]

    topology = Topology(outputs)

    def port_of(host: HostRecord) -> int:
        return DOOR_PORT if topology.has(host, HostRole.DOOR) else outputs.gateway.port

    def ask(host: HostRecord) -> list[str]:
        with connect(SshTarget.of(host)) as connection:
            seen = ask_program(connection, SshTarget.of(host), "firewall/other_firewalls", str(port_of(host)))
        return [other_firewalls.words(**each) for each in seen["closed_ports"]]

    for host, found in on_each(hosts, ask, at_once=at_once):
        for words in [] if isinstance(found, DeployError) else found:
            say(f"! {host.name}: {words}")
