"""What every rented cloud settles alike: who a stack is, since when it lives, and that it stays where it is."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from core.errors import ConfigError
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
    # Its machines are gone, or there never were any: a new life begins.
    has_ended = end_of_life(config, previous) <= at or _holds_nothing(previous)
    return previous.id, at if has_ended else previous.began_at


def offered_places(offered: Mapping[str, Sequence[str]], tried: Sequence[str]) -> list[Place]:
    """Return the places that may be tried: types in their order, of each the zones in theirs.

    `offered` has the zones by machine type. Raises ConfigError when none of the zones `tried` offers any.
    """
    places = [(zone, machine_type) for machine_type, zones in offered.items() for zone in tried if zone in zones]
    if not places:
        what = f"{', '.join(offered)}: not offered in {', '.join(tried)}"
        where = "; ".join(f"{each} is offered in {', '.join(zones)}" for each, zones in offered.items() if zones)
        raise ConfigError(what, where="machine.type", hint=where or "take another region or machine type")
    return places


def refuse_move(config: DeploymentConfig, previous: Lease | None) -> None:
    """Raise ConfigError when the file names another region than a stack lies in: nobody would watch what is there."""
    if previous is not None and previous.region != config.region:
        what = f"{config.region} is not where the stack stands: that is {previous.region}"
        hint = "take it down first, write that region, or take another name for another stack"
        raise ConfigError(what, where="region", hint=hint)


def made_anew_for(previous: Lease, first: Lease) -> list[str]:
    """Return the keys of a stack file whose change makes hosts anew in every cloud."""
    changes = {"machine.image": previous.image != first.image, "zones": previous.zone != first.zone}
    return [key for key, changed in changes.items() if changed]


def is_bound(config: DeploymentConfig, previous: Lease | None) -> bool:
    """Return whether the stack stands and its data volume, which cannot leave its zone, matters more than a machine.

    A spot machine is there to move on. A first `up` that failed has left nothing but blank disks.
    """
    keeps = config.machine.market == "on_demand" or "data_volume" in config.storage.keep_on_down
    return previous is not None and previous.stands and keeps


def staying(places: list[Place], tried: Iterable[str], config: DeploymentConfig, previous: Lease | None) -> list[Place]:
    """Return the places in order, those first that keep what is made.

    A machine that an `up` found before it was cut off may be the last in stock.

    One that is bound to its zone leaves it only when that is none of the zones that the file lets be `tried`. Raises
    ConfigError when its zone has none of the types.
    """
    if previous is None or _holds_nothing(previous):
        return places
    if is_bound(config, previous) and previous.zone in tried:
        places = _in_zone(previous.zone, places)
    return sorted(
        places, key=lambda place: (place != (previous.zone, previous.machine_type), place[0] != previous.zone)
    )


def _holds_nothing(previous: Lease) -> bool:
    """Return whether a lease is that of a first `up` that found no machine."""
    return not previous.stands and previous.lacks_stock


def _in_zone(zone: str, places: list[Place]) -> list[Place]:
    there = [place for place in places if place[0] == zone]
    if not there:
        types = ", ".join(dict.fromkeys(machine_type for _zone, machine_type in places))
        what = f"{types}: not offered in {zone}, where the data volume lies"
        hint = f"write zones: [{places[0][0]}] to move there, which makes the volume anew"
        raise ConfigError(what, where="machine.type", hint=hint)
    return there
