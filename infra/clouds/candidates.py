"""The choice of a stack's place, as far as AWS and GCP have it in common: id, lifetime, zone, machine type."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.errors import ConfigError, DeployError
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

ID_BYTES = 4

Place = tuple[str, str]
"""A zone and a machine type."""


@dataclass(frozen=True)
class Candidate:
    """A zone and machine type to try, as the placement that a success would give."""

    placement: Placement
    usd_per_hour: float | None = None
    """Price of a machine of the pool main on the spot market. None: not queried."""
    pools_usd_per_hour: Mapping[str, float] = field(default_factory=dict)
    """The same for the other pools on the spot market."""

    def __str__(self) -> str:
        prices = [
            f"${usd:.4f}" if pool == MAIN else f"${usd:.4f} ({pool})" for pool, usd in self.spot_usd_per_hour.items()
        ]
        price = f", {' and '.join(prices)} an hour" if prices else ""
        return f"{self.types} in {self.placement.zone}{price}"

    @property
    def spot_usd_per_hour(self) -> dict[str, float]:
        """The prices on the spot market by pool, as far as they are known."""
        of_main = {} if self.usd_per_hour is None else {MAIN: self.usd_per_hour}
        return of_main | dict(self.pools_usd_per_hour)

    @property
    def types(self) -> str:
        """The machine types, those of pools beside main with their names."""
        return ", ".join(
            [
                self.placement.machine_type,
                *(f"{pool.machine_type} ({name})" for name, pool in self.placement.pools.items()),
            ]
        )


def end_of_ttl(config: DeploymentConfig, placement: Placement) -> datetime:
    """Return when `ttl_hours` ends the hosts."""
    return placement.ends_at(config.lifetime.ttl_hours)


def identity_and_beginning(
    config: DeploymentConfig,
    previous: KnownPlacement | None,
    now: datetime | None,
    end_of_life: Callable[[DeploymentConfig, Placement], datetime] = end_of_ttl,
) -> tuple[str, datetime]:
    """Return a stack's id, which it keeps, and the start of its lifetime, which changes when a lifetime has ended."""
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    if previous is None:
        return secrets.token_hex(ID_BYTES), at
    # Its machines have ended, or never existed: a new lifetime begins.
    has_ended = end_of_life(config, previous) <= at or _holds_nothing(previous)
    return previous.id, at if has_ended else previous.began_at


def zones_to_try(config: DeploymentConfig, previous: KnownPlacement | None, states: Mapping[str, str]) -> list[str]:
    """Return the zones to try, in order.

    `states` has the zones of the region: name, and "" or why nothing can be made there now. The zone of an existing
    stack is always included, unless the file names other zones: an outage does not move a stack.
    Raises ConfigError for a zone that does not exist, DeployError if all are down.
    """
    stays_in = zone_kept(config, previous)
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
    """Return the places to try: machine types in order, and for each its zones in order.

    `offered` has the zones by machine type. The place of an existing stack is included even if no longer offered.
    Raises ConfigError if no zone of `tried` offers a type.
    """
    places = [(zone, machine_type) for machine_type, zones in offered.items() for zone in tried if zone in zones]
    if previous is not None and zone_kept(config, previous) in tried and previous.machine_type in offered:
        here = (previous.zone, previous.machine_type)
        places = places if here in places else [here, *places]
    if not places:
        what = f"{', '.join(offered)}: not offered in {', '.join(tried)}"
        where = "; ".join(f"{each} is offered in {', '.join(zones)}" for each, zones in offered.items() if zones)
        raise ConfigError(what, where="machine.type", hint=where or "choose another region or machine type")
    return places


def lies_elsewhere(config: DeploymentConfig, previous: KnownPlacement) -> bool:
    """Return whether the file names another region or project than that of the existing stack."""
    return previous.region != config.region or (previous.project is not None and previous.project != config.project)


def refuse_move(config: DeploymentConfig, previous: Placement | None) -> None:
    """Raise ConfigError if the file names another region than the stack's: the resources there would be lost."""
    if previous is not None and previous.region != config.region:
        what = f"the stack is in {previous.region}, not in {config.region}"
        hint = "run `make down` first, write that region, or choose another stack name"
        raise ConfigError(what, where="region", hint=hint)


def replaced_for(previous: Placement, first: Placement) -> list[str]:
    """Return the keys of a stack file whose change replaces hosts of one pool on AWS and on GCP."""
    changes = {"machine.image": previous.image != first.image, "zones": previous.zone != first.zone}
    return [key for key, changed in changes.items() if changed]


def is_bound(config: DeploymentConfig, previous: KnownPlacement | None) -> bool:
    """Return whether the stack must stay in its zone, because its data volume cannot leave it.

    Spot machines may move, unless a pool beside them is on demand. A failed first `up` leaves only blank disks.
    """
    keeps = any(each.market == "on_demand" for each in config.machines.values()) or _keeps_volume(config)
    return previous is not None and previous.is_complete and keeps


def staying(places: list[Place], config: DeploymentConfig, previous: KnownPlacement | None) -> list[Place]:
    """Return the places in order: first those that keep existing resources.

    An interrupted first `up` resumes where it got a machine: it may be the last one in stock.

    A stack that is bound to its zone leaves it only if the file names other zones. Raises ConfigError if its zone
    offers none of the types, or if the move would leave a volume that `storage.keep_on_down` keeps.
    """
    if previous is None or _holds_nothing(previous):
        return places
    if is_bound(config, previous):
        if zone_kept(config, previous) is not None:
            places = _in_zone(previous.zone, places)
        elif _keeps_volume(config):
            _refuse_leaving(previous.zone, config)
    return sorted(
        places, key=lambda place: (place != (previous.zone, previous.machine_type), place[0] != previous.zone)
    )


def _holds_nothing(previous: KnownPlacement) -> bool:
    """Return whether the first `up` found no machine at this placement."""
    return previous.holds_nothing


def zone_kept(config: DeploymentConfig, previous: KnownPlacement | None) -> str | None:
    """Return the zone of a complete stack; None if the file names other zones."""
    if previous is None or not previous.is_complete:
        return None
    return previous.zone if not config.zones or previous.zone in config.zones else None


def _keeps_volume(config: DeploymentConfig) -> bool:
    return "data_volume" in config.storage.keep_on_down


def _refuse_leaving(zone: str, config: DeploymentConfig) -> None:
    what = f"{', '.join(config.zones)}: the data volume is in {zone}, and storage.keep_on_down keeps it"
    hint = f"add {zone}; or remove data_volume from storage.keep_on_down, to move to a new, empty volume"
    raise ConfigError(what, where="zones", hint=hint)


def _in_zone(zone: str, places: list[Place]) -> list[Place]:
    there = [place for place in places if place[0] == zone]
    if not there:
        types = ", ".join(dict.fromkeys(machine_type for _zone, machine_type in places))
        what = f"{types}: not offered in {zone}, where the data volume is"
        hint = f"write zones: [{places[0][0]}] to move there with a new, empty volume"
        raise ConfigError(what, where="machine.type", hint=hint)
    return there
