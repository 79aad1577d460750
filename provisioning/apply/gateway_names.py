"""Tells the gateway's host which served names the hosts behind it have. Its HAProxy reloads and drops no request."""

from collections.abc import Mapping

from core.errors import HostError
from infra.contract.outputs import StackOutputs
from provisioning.converge.controller import converge
from provisioning.hosts.installed_names import Names, installed_names, note_names
from provisioning.hosts.topology import Topology


def tell_gateway(outputs: StackOutputs, names: Mapping[str, Names]) -> None:
    """Note what hosts behind the gateway have now, and bring the gateway to it. Does nothing without such hosts.

    Raises HostError if the gateway's host cannot be changed.
    """
    host = Topology(outputs).gateway_host
    if host is None:
        return
    from provisioning.apply.desired_state import desired_state  # templates and certificates take time to import

    note_names(outputs, names)
    lists = desired_state(outputs, (host,), ("gateway",), installed=installed_names(outputs)).lists
    result = converge(host, lists[host.name], dry_run=False, on_event=lambda _host, _event: None)
    if not result.ok:
        first = (*result.failed, *result.skipped)[0]
        raise HostError(f"the gateway was not changed: {first.id}: {first.error}", where=host.name)
