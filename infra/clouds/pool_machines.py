"""The machines of the pools beside main on AWS and GCP: the zones that can have them, and the types to try there.

They are in the zone of the other machines: the gateway reaches all of them, and traffic between zones costs money.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice, product

from core.errors import ConfigError
from infra.clouds.candidates import Candidate, Place, zone_kept
from infra.clouds.gateway_machine import engine_types
from infra.clouds.program.naming import pool_of_ending
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement, PoolPlacement
from serving.spec.pool_name import MAIN

Types = dict[str, str]
"""The machine type of each pool beside main."""

MOST_COMBINATIONS = 64
"""How many combinations of the pools' types are tried in one zone: `up` has a time limit anyway."""


def beside_pools(
    places: list[Place],
    offered: Mapping[str, Sequence[str]],
    config: DeploymentConfig,
    previous: KnownPlacement | None,
    keeping: Callable[[str, list[Place]], list[Place]] = lambda _pool, places: places,
) -> list[tuple[Place, Types]]:
    """Return the places of main whose zone offers a type of each pool, each with types of the pools to try there.

    The types of existing machines come first. `keeping` returns those places of a pool that keep its disks. Raises
    ConfigError for the first pool without a place.
    """
    by_pool: dict[str, list[Place]] = {}
    for name in config.pools:
        own = _places(name, dict.fromkeys(zone for zone, _type in places), offered, config, previous)
        zones = {zone for zone, _type in own}
        if not any(zone in zones for zone, _type in places):
            raise _not_offered(name, [zone for zone, _type in places], offered, config, previous)
        try:
            by_pool[name] = keeping(name, own)
        except ConfigError as error:
            error.where = f"pools.{name}.{error.where}" if error.where.startswith("machine.") else error.where
            raise
        kept = {zone for zone, _type in by_pool[name]}
        places = [place for place in places if place[0] in kept]
    return [
        (place, dict(zip(by_pool, types, strict=True)))
        for place in places
        for types in islice(product(*(_in_zone(place[0], each) for each in by_pool.values())), MOST_COMBINATIONS)
    ]


def pool_placements(types: Types, images: Mapping[str, tuple[str, str]]) -> dict[str, PoolPlacement]:
    """Return what the machines of each pool are made of; `images` has the name and id of each pool's image."""
    return {
        name: PoolPlacement(machine_type=each, image_name=images[name][0], image=images[name][1])
        for name, each in types.items()
    }


def still_worth_trying(
    left: Sequence[Candidate], tried: Candidate, failed: Collection[str], stack: str, *, is_complete: bool
) -> list[Candidate]:
    """Return the candidates of `left` that may help after `failed`, resources of `tried`, had no machine.

    Leaves out those with the same type in the same zone. For a complete stack in which machines of other pools than
    main failed, also those that change another pool: its machines run. Stacks with one pool try everything.
    """
    endings = [each.removeprefix(f"{stack}-").removesuffix("-data") for each in failed]
    lacking, placed = {pool_of_ending(each) for each in endings if each[-1:].isdigit()}, tried.placement
    if not placed.pools or not lacking or not lacking <= {MAIN, *placed.pools}:
        return list(left)

    def may_help(candidate: Candidate) -> bool:
        now = candidate.placement
        if now.zone != placed.zone:
            return not is_complete or MAIN in lacking
        changed = {name for name in (MAIN, *placed.pools) if _type(now, name) != _type(placed, name)}
        return lacking <= changed and (not is_complete or MAIN in lacking or changed <= lacking)

    return [each for each in left if may_help(each)]


def _type(placement: Placement, pool: str) -> str:
    return placement.machine_type if pool == MAIN else placement.pools[pool].machine_type


def _places(
    name: str,
    zones: Collection[str],
    offered: Mapping[str, Sequence[str]],
    config: DeploymentConfig,
    previous: KnownPlacement | None,
) -> list[Place]:
    """Return where a pool can be: first the type that it has, which counts even if it is no longer offered."""
    has = previous.pools.get(name) if previous is not None and not previous.holds_nothing else None
    here = (previous.zone, has.machine_type) if previous is not None and has is not None else None
    types = engine_types(config.of_pool(name))
    found = [(zone, each) for each in types for zone in zones if zone in offered[each] or (zone, each) == here]
    return sorted(found, key=lambda place: place != here)


def _in_zone(zone: str, places: Sequence[Place]) -> Iterator[str]:
    return (machine_type for each, machine_type in places if each == zone)


def _not_offered(
    name: str,
    zones: Sequence[str],
    offered: Mapping[str, Sequence[str]],
    config: DeploymentConfig,
    previous: KnownPlacement | None,
) -> ConfigError:
    types = engine_types(config.of_pool(name))
    stays_in = zone_kept(config, previous)
    where = ", where the stack is" if stays_in in zones else ", where the other machines can be"
    what = f"{', '.join(types)}: not offered in {', '.join(dict.fromkeys(zones))}{where}"
    hint = "; ".join(f"{each} is offered in {', '.join(offered[each])}" for each in types if offered[each])
    return ConfigError(what, where=f"pools.{name}.machine.type", hint=hint or "write another type")
