"""Roles joined to one list of wishes per host. Makes credentials and tiny models where they lack, and nothing else.

Reaches no host. Imported late: templates and certificates cost time that a connection under way can use.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.cloud_login import with_logins
from provisioning.access.credentials import Credentials, credentials_for, keys_file
from provisioning.access.tunnel_keys import TunnelKeys, tunnel_keys
from provisioning.converge.resources import Resource, Unit
from provisioning.hosts.tunnel_end import dialled_end
from provisioning.roles.engine.ollama import ollama
from provisioning.roles.engine.release import asked_first
from provisioning.roles.engine.vllm import vllm
from provisioning.roles.gateway.gateway import gateway
from provisioning.roles.gateway.tunnel import shared, tunnel
from provisioning.roles.host.base import base
from provisioning.roles.host.layout import ENGINE_UNIT
from provisioning.roles.host.nvidia import with_driver
from serving.endpoint import Endpoint, endpoint_of
from serving.sources.resolve import ResolvedSources, resolve_sources
from serving.spec.gateway_size import reserved_mib
from serving.spec.models import ServingSpec

ENGINE_ROLES = {"vllm": vllm, "ollama": ollama}


@dataclass(frozen=True)
class DesiredState:
    """What is wished for, and where clients find it then."""

    lists: Mapping[str, Sequence[Resource]]
    """By the host's name."""
    endpoint: Endpoint | None
    """None when the gateway is not among the roles."""


def desired_state(
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    roles: Sequence[str],
    *,
    allow_downgrade: bool = False,
    keep: bool = True,
) -> DesiredState:
    """Return what `roles` wish for on `hosts`, in the order of ROLES.

    A host whose engine is newer than this checkout's refuses all of it, unless `allow_downgrade`. Credentials that
    lack are made for this list alone, and written nowhere, when `keep` is false.

    Raises ConfigError for files that the config names and that cannot work, before any host is reached.
    """
    # Of all hosts, also those that are left out of this run: the endpoint is the stack's.
    gateways = [host for host in outputs.hosts if outputs.has_gateway(host)] if "gateway" in roles else []
    made = _Made(
        sources=with_logins(resolve_sources(outputs.serving)) if "engine" in roles else None,
        credentials={host.name: credentials_for(outputs.stack, host, outputs.gateway, keep=keep) for host in gateways},
        keys=tunnel_keys(outputs.stack, keep=keep) if outputs.tunnel is not None else None,
        far_end=dialled_end(outputs) if "gateway" in roles else None,
    )
    lists: dict[str, Sequence[Resource]] = {}
    for host in hosts:
        of_roles = _of_roles(outputs, host, roles, made, allow_downgrade=allow_downgrade)
        if made.keys is not None:
            of_roles = [shared(each, outputs.serving, made.keys) for each in of_roles]
        lists[host.name] = asked_first(joined(*of_roles))
    return DesiredState(lists, _endpoint(outputs, list(made.credentials.values())) if made.credentials else None)


@dataclass(frozen=True)
class _Made:
    """What is made once for all hosts."""

    sources: ResolvedSources | None
    credentials: Mapping[str, Credentials]
    """By the name of the gateway's host."""
    keys: TunnelKeys | None
    far_end: HostRecord | None
    """The gateway's host as the tunnel dials it; None without a tunnel, or when the gateway is not among the roles."""


def _of_roles(
    outputs: StackOutputs, host: HostRecord, roles: Sequence[str], made: _Made, *, allow_downgrade: bool
) -> list[list[Resource]]:
    """Return what each role wishes for on `host`."""
    lists = []
    if "base" in roles:
        lists.append(base(host, outputs.gateway))
    if made.sources is not None and outputs.has_engine(host):
        engine = _engine(host, outputs.serving, made.sources, allow_downgrade=allow_downgrade)
        lists.append(with_driver(host, outputs.serving, engine))
    if made.keys is not None and made.far_end is not None:
        lists.append(tunnel(outputs, host, made.keys, made.far_end))
    if host.name in made.credentials:
        reserved = reserved_mib(host.memory_gib, gpu=host.gpu is not None)
        lists.append(gateway(outputs.serving, outputs.gateway, made.credentials[host.name], reserved))
    return lists


def _engine(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, *, allow_downgrade: bool
) -> list[Resource]:
    """Return what makes the engine serve. Another one, with which the host served before, serves on until its start."""
    listed = ENGINE_ROLES[serving.engine](host, serving, sources, allow_downgrade=allow_downgrade)
    unit = next(each for each in listed if isinstance(each, Unit) and each.name == ENGINE_UNIT[serving.engine])
    others = [
        Unit(name=name, enabled=False, running=False, after=unit.after)
        for engine, name in ENGINE_UNIT.items()
        if engine != serving.engine
    ]
    start = replace(unit, after=(*unit.after, *(other.id for other in others)))
    place = listed.index(unit)
    return [*listed[:place], *others, start, *listed[place + 1 :]]


def joined(*lists: Sequence[Resource]) -> list[Resource]:
    """Return the lists as one; what two roles wish for in the same words (the engine's key) stands in it once.

    A unit that two roles wish for (sshd) stands where the later one has it, and restarts for what either names.
    """
    one: list[Resource] = []
    for resource in itertools.chain(*lists):
        former = next((each for each in one if each.id == resource.id), None)
        if isinstance(former, Unit) and isinstance(resource, Unit):
            one.remove(former)
            one.append(_for_both(former, resource))
        elif resource != former:
            one.append(resource)
    return one


def _for_both(former: Unit, later: Unit) -> Unit:
    """Return the later unit with the former's reasons to wait, restart and reload."""
    return replace(
        later,
        after=_union(former.after, later.after),
        restart_on=_union(former.restart_on, later.restart_on),
        reload_on=_union(former.reload_on, later.reload_on),
    )


def _union(former: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*former, *later)))


def _endpoint(outputs: StackOutputs, credentials: Sequence[Credentials]) -> Endpoint:
    """Return where clients find the stack: at the first name of each host's certificate."""
    return endpoint_of(
        outputs.stack,
        [each.names[0] for each in credentials],
        outputs.serving,
        outputs.gateway,
        ca=credentials[0].ca,
        keys_file=keys_file(outputs.stack),
        gpu_hosts=[host.name for host in outputs.hosts if host.gpu is not None and outputs.has_engine(host)],
    )
