"""The pools behind a gateway. A pool is the set of hosts that serve the same base model.

Does not write HAProxy's configuration: haproxy.cfg.j2 does. A pool is a backend there, a host is a server in it.
"""

from dataclasses import dataclass

from core.ports import AGENT_PORT
from infra.contract.outputs import HostRecord, StackOutputs
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
    """Names of models that it serves: of the base model and of the adapters that this host has."""

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
    def places(self) -> int:
        """Requests that all its engines get at the same time."""
        return sum(server.places for server in self.servers)


def pools_of(outputs: StackOutputs, host: HostRecord) -> tuple[Pool, ...]:
    """Return the pools behind the gateway on `host`: one pool with one engine.

    The engine listens on loopback. That of another host comes through the tunnel to the same port.
    """
    engine = engine_host(outputs, host)
    # The tunnel brings the engine's port alone. The watcher there restarts an engine that hangs all the same.
    agent_port = None if outputs.tunnel else AGENT_PORT
    return (loopback_pool(engine.pool, engine.name, outputs.serving, outputs.gateway, agent_port),)


def loopback_pool(
    name: str, server: str, serving: ServingSpec, gateway: GatewaySpec, agent_port: int | None = None
) -> Pool:
    """Return the pool `name` of one engine, on loopback."""
    only = PoolServer(
        name=server,
        port=serving.port,
        places=gateway.max_concurrency,
        agent_port=agent_port,
        names=serving.served_names,
    )
    return Pool(name=name, serving=serving, servers=(only,))


def engine_host(outputs: StackOutputs, host: HostRecord) -> HostRecord:
    """Return the host whose engine the gateway on `host` has on its loopback."""
    name = outputs.tunnel.engine if outputs.tunnel else host.name
    return next(each for each in outputs.hosts if each.name == name)
