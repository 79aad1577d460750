"""What every rented cloud settles alike: who a stack is, since when it lives, and that it stays where it is."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from infra.config import DeploymentConfig
from infra.lease import Lease

ID_BYTES = 4

Place = tuple[str, str]
"""A zone and a machine type."""


def end_of_ttl(config: DeploymentConfig, lease: Lease) -> datetime:
    """Return when the hosts end by their `ttl_hours`."""
    return lease.ends_at(config.lifetime.ttl_hours)


def identity_and_beginning(
    config: DeploymentConfig,
    previous: Lease | None,
    now: datetime | None,
    end_of_life: Callable[[DeploymentConfig, Lease], datetime] = end_of_ttl,
) -> tuple[str, datetime]:
    """Return a stack's id and when its life began: kept from the lease before, or settled anew."""
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    if previous is None:
        return secrets.token_hex(ID_BYTES), at
    has_ended = end_of_life(config, previous) <= at  # its machines are gone: a new life begins
    return previous.id, at if has_ended else previous.began_at


def staying(places: list[Place], config: DeploymentConfig, previous: Lease | None) -> list[Place]:
    """Return the places in order, those first that keep the disks of a stack that stands: they cannot leave a zone."""
    if previous is None:
        return places
    if "data_volume" in config.storage.keep_on_down:
        places = [place for place in places if place[0] == previous.zone] or places
    return sorted(
        places, key=lambda place: (place != (previous.zone, previous.machine_type), place[0] != previous.zone)
    )
