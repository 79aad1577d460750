"""Which hosts the gateway's host sends requests to now. Changes nothing."""

from collections.abc import Collection

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.roles.host.layout import HAPROXY_ADMIN_SOCKET
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget

NOT_ASKED = ("DOWN", "MAINT")


def asked_now(outputs: StackOutputs, front: HostRecord, names: Collection[str]) -> tuple[str, ...]:
    """Return those of `names` that the gateway on `front` sends requests to; none if it does not run yet.

    Raises HostError if `front` does not answer.
    """
    to = SshTarget.of(front)
    with connect(to) as connection:
        states = ask_program(connection, to, "gateway/server_states", HAPROXY_ADMIN_SOCKET)
    seen = {host.name: states.get(f"{host.pool}/{host.name}", "DOWN") for host in outputs.hosts}
    return tuple(name for name in names if not seen[name].startswith(NOT_ASKED))
