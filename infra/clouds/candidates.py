"""What every rented cloud settles alike: who a stack is, since when it lives, and that it stays where it is."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.errors import ConfigError, DeployError
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

ID_BYTES = 4


Place = tuple[str, str]
"""A zone and a machine type."""


@dataclass(frozen=True)
class Candidate:
    """One zone and machine type that may be tried, as the lease that would hold if it works out."""

    placement: Placement
    usd_per_hour: float | None = None
    """What the spot market asks there. None: it was not asked."""

    def __str__(self) -> str:
        price = f", ${self.usd_per_hour:.4f} an hour" if self.usd_per_hour is not None else ""
        return f"{self.placement.machine_type} in {self.placement.zone}{price}"


def end_of_ttl(config: DeploymentConfig, placement: Placement) -> datetime:
    """Return when the hosts end by their `ttl_hours`."""
    return placement.ends_at(config.lifetime.ttl_hours)


def identity_and_beginning(
    config: DeploymentConfig,
    previous: KnownPlacement | None,
    now: datetime | None,
    end_of_life: Callable[[DeploymentConfig, Placement], datetime] = end_of_ttl,
) -> tuple[str, datetime]:
    """Return a stack's id and when its life began: kept from the lease before, or settled anew."""
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    if previous is None:
        return secrets.token_hex(ID_BYTES), at
    # Its machines are gone, or there never were any: a new life begins.
    has_ended = end_of_life(config, previous) <= at or _holds_nothing(previous)
    return previous.id, at if has_ended else previous.began_at


def zones_to_try(config: DeploymentConfig, previous: KnownPlacement | None, states: Mapping[str, str]) -> list[str]:
    """Return the zones that may be tried, in order.

    `states` has the zones that can be used: a name, and "" or why nothing is made there now. The zone of a stack that
    stands is always among them, unless the file names other zones: a zone that is down is no reason to move.
    Raises ConfigError for a zone of the file that is not there, DeployError when all are down.
    """
    stays_in = _zone_kept(config, previous)
    for index, zone in enumerate(config.zones):
        if zone not in states and zone != stays_in:
            what, hint = f"{zone} is not a zone of {config.region}", f"its zones are {', '.join(states)}"
            raise ConfigError(what, where=f"zones[{index}]", hint=hint)
    wanted = list(config.zones or states)
    tried = [zone for zone in wanted if zone == stays_in or not states.get(zone)]
    if stays_in is not None and stays_in not in tried:
        tried.insert(0, stays_in)
    if not tried:
        what = ", ".join(f"{zone} is {states[zone]}" for zone in wanted) or f"{config.region} has no zone"
        raise DeployError(what, where="zones", hint="name other zones, or try later")
    return tried


def offered_places(
    offered: Mapping[str, Sequence[str]],
    tried: Sequence[str],
    config: DeploymentConfig,
    previous: KnownPlacement | None,
) -> list[Place]:
    """Return the places that may be tried: types in their order, of each the zones in theirs.

    `offered` has the zones by machine type. The place of a stack that stands is one of them, whatever is offered now.
    Raises ConfigError when none of the zones `tried` offers any.
    """
    places = [(zone, machine_type) for machine_type, zones in offered.items() for zone in tried if zone in zones]
    if previous is not None and _zone_kept(config, previous) in tried and previous.machine_type in offered:
        here = (previous.zone, previous.machine_type)
        places = places if here in places else [here, *places]
    if not places:
        what = f"{', '.join(offered)}: not offered in {', '.join(tried)}"
        where = "; ".join(f"{each} is offered in {', '.join(zones)}" for each, zones in offered.items() if zones)
        raise ConfigError(what, where="machine.type", hint=where or "take another region or machine type")
    return places


def lies_elsewhere(config: DeploymentConfig, previous: KnownPlacement) -> bool:
    """Return whether the file names another region or project than a stack lies in."""
    return previous.region != config.region or (previous.project is not None and previous.project != config.project)


def refuse_move(config: DeploymentConfig, previous: Placement | None) -> None:
    """Raise ConfigError when the file names another region than a stack lies in: nobody would watch what is there."""
    if previous is not None and previous.region != config.region:
        what = f"{config.region} is not where the stack stands: that is {previous.region}"
        hint = "take it down first, write that region, or take another name for another stack"
        raise ConfigError(what, where="region", hint=hint)


def made_anew_for(previous: Placement, first: Placement) -> list[str]:
    """Return the keys of a stack file whose change makes hosts anew in every cloud."""
    changes = {"machine.image": previous.image != first.image, "zones": previous.zone != first.zone}
    return [key for key, changed in changes.items() if changed]


def is_bound(config: DeploymentConfig, previous: KnownPlacement | None) -> bool:
    """Return whether the stack stands and its data volume, which cannot leave its zone, matters more than a machine.

    A spot machine is there to move on. A first `up` that failed has left nothing but blank disks.
    """
    keeps = config.machine.market == "on_demand" or _keeps_volume(config)
    return previous is not None and previous.is_complete and keeps


def staying(places: list[Place], config: DeploymentConfig, previous: KnownPlacement | None) -> list[Place]:
    """Return the places in order, those that keep what is made first.

    An interrupted first `up` resumes where it got a machine: that may be the last one in stock.

    A stack that is bound to its zone leaves it only when the file names other zones. Raises ConfigError when its zone
    has none of the types, and when it would have to leave a volume that the file says to keep.
    """
    if previous is None or _holds_nothing(previous):
        return places
    if is_bound(config, previous):
        if _zone_kept(config, previous) is not None:
            places = _in_zone(previous.zone, places)
        elif _keeps_volume(config):
            _refuse_leaving(previous.zone, config)
    return sorted(
        places, key=lambda place: (place != (previous.zone, previous.machine_type), place[0] != previous.zone)
    )


def _holds_nothing(previous: KnownPlacement) -> bool:
    """Return whether a lease is that of a first `up` that found no machine."""
    return previous.holds_nothing


def _zone_kept(config: DeploymentConfig, previous: KnownPlacement | None) -> str | None:
    """Return the zone in which a stack stands and may stay: only the file's `zones` can say otherwise."""
    if previous is None or not previous.is_complete:
        return None
    return previous.zone if not config.zones or previous.zone in config.zones else None


def _keeps_volume(config: DeploymentConfig) -> bool:
    return "data_volume" in config.storage.keep_on_down


def _refuse_leaving(zone: str, config: DeploymentConfig) -> None:
    what = f"{', '.join(config.zones)}: the data volume lies in {zone}, and storage.keep_on_down keeps it"
    hint = f"add {zone}, or take data_volume out of storage.keep_on_down to move, which makes the volume anew"
    raise ConfigError(what, where="zones", hint=hint)


def _in_zone(zone: str, places: list[Place]) -> list[Place]:
    there = [place for place in places if place[0] == zone]
    if not there:
        types = ", ".join(dict.fromkeys(machine_type for _zone, machine_type in places))
        what = f"{types}: not offered in {zone}, where the data volume lies"
        hint = f"write zones: [{places[0][0]}] to move there, which makes the volume anew"
        raise ConfigError(what, where="machine.type", hint=hint)
    return there
