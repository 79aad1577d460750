"""A real HAProxy on loopback with the configuration of a door, as tests/gateways.py runs one of a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from provisioning.converge.resources import Secret
from provisioning.roles.gateway.door import door_config
from provisioning.roles.gateway.pools import Pool, PoolServer, loopback_pool
from serving.spec.models import GatewaySpec, ServingSpec
from tests.doubles.engine import ENGINE_KEY
from tests.gateways import ADDRESS, RunningGateway, free_port, places_in, running_haproxy

POOL = "main"


@dataclass(frozen=True)
class Door:
    """A running door, and how the gateway knows it."""

    running: RunningGateway
    server: PoolServer


@contextmanager
def running_door(
    folder: Path, ca: Path, serving: ServingSpec, gateway: GatewaySpec, *, name: str, certified: str = ""
) -> Iterator[Door]:
    """Run the door of host `name` to the engine of `serving`. The CA in folder `ca` certifies `certified`."""
    port = free_port()
    places = places_in(folder)
    names = (certified or name, ADDRESS)
    Path(places.certificate).write_text(server_certificate(folder / "kept.pem", ca, names, 2, datetime.now(UTC)))
    pool = loopback_pool(POOL, name, serving, gateway)
    Path(places.config).write_text(door_config(pool, gateway, places, Secret(ENGINE_KEY), port=port))
    with running_haproxy(folder, places, port) as running:
        behind = replace(pool.servers[0], address=ADDRESS, port=port, tls=True)
        yield Door(replace(running, ca=ca / CA_CERTIFICATE), behind)


def pool_of(doors: list[Door], serving: ServingSpec) -> Pool:
    """Return the pool of the hosts behind `doors`."""
    return Pool(name=POOL, serving=serving, servers=tuple(door.server for door in doors))
