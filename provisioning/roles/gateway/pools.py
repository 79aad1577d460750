"""The pools behind a gateway. A pool is the set of hosts that serve the same base model.

Does not write HAProxy's configuration: haproxy.cfg.j2 does. A pool is a backend there, a host is a server in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.ports import AGENT_PORT, DOOR_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.installed_names import Names, names_in_pool
from provisioning.hosts.topology import HostRole, Topology
from serving.spec.gateway_places import host_places
from serving.spec.models import GatewaySpec, ServingSpec

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class PoolServer:
    """A host of a pool, as the gateway connects to it."""

    name: str
    """The host's name, and HAProxy's name of the server."""
    address: str = LOOPBACK
    port: int
    places: int
    """Requests that its engine gets at the same time."""
    agent_port: int | None = None
    """Where its watcher answers HAProxy's agent check. None: it is asked for its health only."""
    names: tuple[str, ...]
    """Names of models that it serves: of the base model and of the adapters that this host has. Empty: it gets no
    request, because no provision of the host has succeeded yet."""
    tls: bool = False
    """Whether it is a door on another host, which shows a certificate for its name."""

    @property
    def at(self) -> str:
        """Address and port in HAProxy's syntax."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Hosts that serve the same base model."""

    name: str
    """HAProxy's name of the backend."""
    serving: ServingSpec
    servers: tuple[PoolServer, ...]

    @property
    def behind_doors(self) -> bool:
        """Whether the gateway is on another host than the engines, which need its key."""
        return self.servers[0].tls

    @property
    def places(self) -> int:
        """Requests that all its engines get at the same time."""
        return sum(server.places for server in self.servers)


def pools_of(outputs: StackOutputs, host: HostRecord, names: Mapping[str, Names]) -> tuple[Pool, ...]:
    """Return the pools behind the gateway on `host`: one with one engine, or all those of a gateway's host.

    The one engine listens on loopback. That of another host comes through the tunnel to the same ports. `names` are the
    served names of each host behind a gateway's; those that its pool does not serve are left out.
    """
    engines = engines_behind(outputs, host)
    if outputs.gateway_host is None:
        (engine,) = engines
        return (loopback_pool(engine.pool, engine.name, outputs.serving_of(engine), outputs.gateway, AGENT_PORT),)
    servers: dict[str, list[PoolServer]] = {}
    for each in engines:
        places = host_places(outputs.serving_of(each), outputs.gateway)
        servers.setdefault(each.pool, []).append(_door(each, places, names_in_pool(outputs, each, names[each.name])))
    return tuple(
        Pool(name=name, serving=outputs.pools.get(name, outputs.serving), servers=tuple(own))
        for name, own in servers.items()
    )


def loopback_pool(
    name: str, server: str, serving: ServingSpec, gateway: GatewaySpec, agent_port: int | None = None
) -> Pool:
    """Return the pool `name` of one engine, on loopback."""
    only = PoolServer(
        name=server,
        port=serving.port,
        places=host_places(serving, gateway),
        agent_port=agent_port,
        names=serving.served_names,
    )
    return Pool(name=name, serving=serving, servers=(only,))


def _door(host: HostRecord, places: int, names: Names) -> PoolServer:
    """Return a host behind the gateway's, as the gateway connects to it."""
    return PoolServer(
        name=host.name,
        address=host.peer_address,
        port=DOOR_PORT,
        places=places,
        agent_port=AGENT_PORT,
        names=names,
        tls=True,
    )


def engines_behind(outputs: StackOutputs, host: HostRecord) -> tuple[HostRecord, ...]:
    """Return the hosts whose engines the HAProxy on `host` has behind it: a gateway's, or a door's own."""
    if host.name == outputs.gateway_host:
        return Topology(outputs).hosts_with(HostRole.DOOR)
    name = outputs.tunnel.engine if outputs.tunnel else host.name
    return tuple(each for each in outputs.hosts if each.name == name)
