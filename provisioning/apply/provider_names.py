"""Warns after a provision about providers whose names the gateway's host cannot look up. Changes nothing."""

from collections.abc import Collection

from core.console import say
from core.errors import DeployError
from core.ports import OVERFLOW_METRICS_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.parallel import on_each
from provisioning.hosts.topology import HostRole, Topology
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget


def mention_unknown_names(outputs: StackOutputs, provisioned: Collection[str], *, at_once: int) -> None:
    """Print the names of providers without an address; `provisioned` are the hosts of this run.

    A query that fails is ignored, since the provision has succeeded; `status` queries again.
    """
    overflow, topology = outputs.gateway.overflow, Topology(outputs)
    if overflow is None:
        return
    names = overflow.host_names
    hosts = [each for each in outputs.hosts if each.name in provisioned and topology.has(each, HostRole.GATEWAY)]

    def ask(host: HostRecord) -> dict[str, str]:
        words = (str(OVERFLOW_METRICS_PORT), *names)
        with connect(SshTarget.of(host)) as connection:
            found: dict[str, str] = ask_program(connection, SshTarget.of(host), "gateway/provider_report", *words)[
                "unresolved"
            ]
        return found

    for host, found in on_each(hosts, ask, at_once=at_once):
        for name, why in {}.items() if isinstance(found, DeployError) else found.items():
            say(f"! {host.name}: {name} has no address ({why}), so this provider gets no requests; check its url")
