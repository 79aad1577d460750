"""Tells gateways which served names the hosts behind them have. Their HAProxy reloads and drops no request."""

from collections.abc import Mapping

from core.console import say
from core.errors import HostError
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply.trusted_cas import note_list
from provisioning.converge.controller import converge
from provisioning.hosts.installed_names import Names, installed_names, note_names, unknown_hosts
from provisioning.hosts.topology import HostRole, Topology
from serving.endpoint import endpoint_file


def tell_gateway(outputs: StackOutputs, names: Mapping[str, Names]) -> None:
    """Note what hosts behind a gateway's have now, and bring each gateway to it. Does nothing before a provision.

    Raises HostError if a gateway's host cannot be changed.
    """
    hosts = _gateways(outputs)
    if not hosts:
        say("! no gateway was changed: this checkout has not provisioned one; `provision` lets it serve new names")
        return
    from provisioning.apply.desired_state import desired_state  # templates and certificates take time to import

    note_names(outputs, names)
    if unknown := unknown_hosts(outputs):
        hosts_named = ", ".join(unknown)
        say(f"! the gateway was not changed: {hosts_named} not known here; run `provision` of all hosts")
        return
    installed = None if outputs.gateway_host is None else installed_names(outputs)
    lists = desired_state(outputs, hosts, ("gateway",), installed=installed).lists
    for host in hosts:
        result = converge(host, lists[host.name], dry_run=False, on_event=lambda _host, _event: None)
        if not result.ok:
            first = (*result.failed, *result.skipped)[0]
            raise HostError(f"the gateway was not changed: {first.id}: {first.error}", where=host.name)
        note_list(outputs, host, lists[host.name])


def _gateways(outputs: StackOutputs) -> tuple[HostRecord, ...]:
    """Return the hosts with a gateway. Without one on a host of its own, a provision may have left them out so far."""
    topology = Topology(outputs)
    if topology.gateway_host is not None:
        return (topology.gateway_host,)
    return topology.hosts_with(HostRole.GATEWAY) if endpoint_file(outputs.stack).exists() else ()
