"""The gateway's host as the engine's host dials it: address and port of its sshd. Connects to no host."""

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.ssh.route import route
from provisioning.ssh.target import SshTarget


def dialled_end(outputs: StackOutputs) -> HostRecord | None:
    """Return the gateway's host with the address and port to dial; None for a stack without a tunnel.

    The engine's host has no copy of the user's ssh_config, so HostName and Port of that file are filled in here, and
    `ssh_config` is None in the result. `address` and `port` of the tunnel take precedence. Raises UsageError for an
    ssh_config that cannot be used.
    """
    wanted = outputs.tunnel
    if wanted is None:
        return None
    (far_end,) = (each for each in outputs.hosts if each.name == wanted.gateway)
    address, port = wanted.address, wanted.port
    if address is None or port is None:
        way = route(SshTarget.of(far_end))
        address, port = address or way.address, port or way.port
    return far_end.model_copy(update={"address": address, "ssh_port": port, "ssh_config": None})
