"""Notes what a host's list brought: the certificate of a host behind the gateway's, or the CAs that the gateway trusts.

Reaches no host.
"""

from collections.abc import Sequence

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.door_certificates import note_door, note_gateway
from provisioning.converge.resources import File, Resource, Secret
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.gateway.process import Places


def note_list(outputs: StackOutputs, host: HostRecord, resources: Sequence[Resource]) -> None:
    """Note what `host` shows or trusts after `resources` were applied. Does nothing without a gateway's host."""
    if outputs.gateway_host is None:
        return
    contents = {each.path: each.content for each in resources if isinstance(each, File)}
    certificate, trusted = contents.get(Places().certificate), contents.get(Places().ca)
    behind = [each.name for each in Topology(outputs).hosts_with(HostRole.DOOR)]
    if host.name in behind and isinstance(certificate, Secret):
        note_door(outputs.stack, host.name, certificate)
    elif isinstance(trusted, str):
        note_gateway(outputs.stack, trusted, behind)
