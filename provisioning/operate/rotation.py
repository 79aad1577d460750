"""Waits until the gateway's host sends requests to a host behind it again. Changes nothing."""

from collections.abc import Callable

from core.errors import HostError
from core.waiting.condition import wait_until
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.status import ask
from provisioning.ssh.connection import connect
from provisioning.ssh.target import SshTarget

DEADLINE_S = 60
"""A host that is up again is checked every second, and the door in front of its engine checks that as often."""

Tell = Callable[[str], None]


def await_rotation(outputs: StackOutputs, host: HostRecord, tell: Tell) -> None:
    """Return when the gateway takes `host` for up, or never asks it; at once for a host without a gateway before it.

    So the next host can be taken out. Raises HostError if that takes too long.
    """
    topology = Topology(outputs)
    front = topology.gateway_host
    if front is None or not topology.has(host, HostRole.DOOR):
        return
    with connect(SshTarget.of(front)) as connection:

        def is_back() -> bool | None:
            queue = ask(connection, outputs, front).queue
            state = "" if queue is None else queue.hosts[host.name]
            tell(f"{front.name} reports it as {state or 'unknown'}")
            return True if state.startswith(("UP", "MAINT", "UNKNOWN")) else None

        wait_until(
            is_back,
            deadline_s=DEADLINE_S,
            late=lambda: HostError(f"serves, but {front.name} does not send it requests", where=host.name),
        )
