"""Joins the roles' resources to one list per host, and returns the endpoint that clients get.

Reaches no host. Makes certificates, keys and tiny models that are missing, and nothing else. Import it late, after the
connections were started: loading templates and certificates takes time.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.credentials import keys_file
from provisioning.converge.resources import Resource, Unit
from provisioning.hosts.installed_names import Names
from provisioning.hosts.topology import HostRole
from provisioning.roles.engine.release import asked_first
from provisioning.roles.gateway.given_key import with_engine_key
from provisioning.roles.gateway.tunnel import shared
from provisioning.roles.inputs import RoleInputs
from provisioning.roles.registry import REGISTRY, applicable
from serving.endpoint import Endpoint, endpoint_of


@dataclass(frozen=True)
class DesiredState:
    """The resources of each host, and the endpoint for clients."""

    lists: Mapping[str, Sequence[Resource]]
    """Resources in the order in which they are applied, by the host's name."""
    endpoint: Endpoint | None
    """None when the gateway is not among the roles."""


def desired_state(
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    roles: Sequence[str],
    *,
    allow_downgrade: bool = False,
    keep: bool = True,
    installed: Mapping[str, Names] | None = None,
) -> DesiredState:
    """Return the resources that `roles` need on `hosts`.

    A host with a newer engine than this checkout's refuses its whole list, unless `allow_downgrade`. If `keep` is
    false, missing certificates and keys are made for this list alone and not written. `installed`: the served names of
    each host behind the gateway's; None: each has all of them.

    Raises ConfigError for files that the config names and that cannot work, before any host is reached.
    """
    inputs = RoleInputs(outputs, keep=keep, allow_downgrade=allow_downgrade, installed=installed)
    lists = {host.name: _resources_of(host, roles, inputs) for host in hosts}
    return DesiredState(lists, _endpoint(inputs) if "gateway" in roles else None)


def _resources_of(host: HostRecord, roles: Sequence[str], inputs: RoleInputs) -> list[Resource]:
    """Return the resources of all roles that apply to `host`."""
    names = applicable(inputs.topology.roles_of(host), roles)
    lists = [REGISTRY[name].build(host, inputs) for name in names]
    if inputs.engine_key is not None:
        lists = [with_engine_key(each, inputs.engine_key) for each in lists]
    if inputs.tunnel_keys is not None:
        lists = [shared(each, inputs.outputs.serving_of(host), inputs.tunnel_keys) for each in lists]
    return asked_first(joined(*lists))


def joined(*lists: Sequence[Resource]) -> list[Resource]:
    """Return the lists as one. A resource that two roles need alike (the engine's key) is in it once.

    A unit that two roles need (sshd) keeps the later place, and restarts for what either role names.
    """
    one: list[Resource] = []
    for resource in itertools.chain(*lists):
        earlier = next((each for each in one if each.id == resource.id), None)
        if isinstance(earlier, Unit) and isinstance(resource, Unit):
            one.remove(earlier)
            one.append(_for_both(earlier, resource))
        elif resource != earlier:
            one.append(resource)
    return one


def _for_both(earlier: Unit, later: Unit) -> Unit:
    """Return the later unit, which also waits, restarts and reloads for what the earlier one names."""
    return replace(
        later,
        after=_union(earlier.after, later.after),
        restart_on=_union(earlier.restart_on, later.restart_on),
        reload_on=_union(earlier.reload_on, later.reload_on),
    )


def _union(earlier: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*earlier, *later)))


def _endpoint(inputs: RoleInputs) -> Endpoint:
    """Return where clients find the stack: at the first name of each gateway's certificate."""
    outputs, credentials = inputs.outputs, list(inputs.credentials.values())
    return endpoint_of(
        outputs.stack,
        [each.names[0] for each in credentials],
        outputs.servings,
        outputs.gateway,
        ca=credentials[0].ca,
        keys_file=keys_file(outputs.stack),
        gpu_hosts=[host.name for host in inputs.topology.hosts_with(HostRole.ENGINE) if host.gpu is not None],
    )
