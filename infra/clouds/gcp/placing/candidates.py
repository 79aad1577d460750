"""Candidates on GCP: the places and machine types to try, in order, and what is looked up once for all of them.

An existing stack keeps its place and type as long as its file allows them; the others follow as fallbacks.
"""

import re
from datetime import UTC, datetime

from core.errors import ConfigError
from infra.clouds.candidates import (
    Candidate,
    Place,
    identity_and_beginning,
    offered_places,
    refuse_move,
    staying,
    zones_to_try,
)
from infra.clouds.gateway_machine import beside_gateway, engine_types, gateway_placement, types_to_look_up
from infra.clouds.gcp.api.client import ask
from infra.clouds.gcp.placing.end_of_life import end_of_life, refuse_short_life
from infra.clouds.gcp.placing.images import image_name, resolve_image
from infra.clouds.gcp.placing.local_ssd import without_stops
from infra.clouds.gcp.placing.replacements import keeping_disks, keeps_end
from infra.clouds.gcp.placing.stock import offered, zones_of
from infra.clouds.pool_machines import beside_pools, pool_placements
from infra.clouds.resources.denied_calls import DeniedError, MissingError, unless_denied
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

OUT_OF_STOCK = re.compile(
    r"(?P<reason>[^\n]*(?:RESOURCE_POOL_EXHAUSTED|does not have enough resources available to fulfill the request"
    r"|STOCKOUT|resource_availability"
    r"|is currently unavailable in the \S+ zone"
    r"|(?:[Mm]achine|[Aa]ccelerator|[Dd]isk) type (?:with name )?'?\S+ does not exist in zone"
    r"|(?:accelerator|machine|disk)Types/\S+ was not found"
    r"|Error waiting for status:[^\n]*(?:not ?found|STOPPING|TERMINATED|SUSPENDED))[^\n]*)",
)
"""Errors of a place that does not have this machine now, or never has. Quotas and permissions are not listed: another
place does not help. The plugin repeats the API's message and not always its code (ZONE_RESOURCE_POOL_EXHAUSTED,
ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS). Its wait for the status of a new instance fails if GCP preempts a spot
machine at once."""

QUOTA = re.compile(r"QUOTA_EXCEEDED|quotaExceeded|Quota '\S+' exceeded")


def candidates(
    config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None = None
) -> list[Candidate]:
    """Return the candidates to try, best first. Raises ConfigError if there is none."""
    project, region = str(config.project), str(config.region)
    if previous is not None and previous.project != project:
        what = f"the stack is in project {previous.project}, not in {project}"
        raise ConfigError(what, where="project", hint="run `make down` first, or write that project")
    refuse_move(config, previous)
    types, asked = engine_types(config), types_to_look_up(config)
    states = _zones(config, previous)
    tried = zones_to_try(config, previous, states)
    everywhere = dict.fromkeys(asked, tried)
    listed = unless_denied(lambda: offered(project, region, asked), everywhere, "the types and zones of the file")
    places = staying(offered_places({each: listed[each] for each in types}, tried, config, previous), config, previous)
    places = beside_gateway(places, listed, config, previous)
    if previous is not None:
        places = without_stops(keeping_disks(places, config, previous), previous)
    beside = beside_pools(places, listed, config, previous, lambda pool, own: _keeping(pool, own, config, previous))
    zones = tuple(dict.fromkeys([*states, *tried]))
    subnets = dict.fromkeys(zones, name) if (name := existing_subnet(config, previous)) else {}
    base = _base(config, previous, now)
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    images = _images(config, previous)
    found = [
        Placement(
            **base,
            zone=zone,
            machine_type=each,
            zones=zones,
            subnets=subnets,
            pools=pool_placements(of_pools, images),
        )
        for (zone, each), of_pools in beside
    ]
    refuse_short_life(config, found[0], at)
    keeps = previous is not None and keeps_end(config, previous, found[0])
    return [Candidate(each.model_copy(update={"keeps_end": keeps})) for each in found]


def out_of_stock(text: str) -> str | None:
    """Return GCP's text if an error only means that this place has no machine; None for every other error."""
    found = OUT_OF_STOCK.search(text)
    return found["reason"].strip() if found and not QUOTA.search(text) else None


def _base(config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None) -> dict[str, object]:
    """Return the settings that do not depend on the place: kept from the previous placement, or chosen now."""
    identity, began_at = identity_and_beginning(config, previous, now, end_of_life)
    name, image = _image(config, previous)
    return {
        "id": identity,
        "project": config.project,
        "region": config.region,
        "began_at": began_at,
        "image_name": name,
        "image": image,
        "gateway": gateway_placement(config, previous, image, resolve_image),
        "writes_notices": previous is None or previous.writes_notices,
    }


def _image(config: DeploymentConfig, previous: Placement | None) -> tuple[str, str]:
    """Return the name and the path of the image of one pool: the recorded one, or the current one."""
    name = image_name(config.machine.image)
    recorded = previous.image if previous is not None and previous.image_name == name else None
    return name, recorded or resolve_image(name)


def _images(config: DeploymentConfig, previous: Placement | None) -> dict[str, tuple[str, str]]:
    """Return the images of the pools beside main, by pool."""
    return {
        name: _image(config.of_pool(name), None if previous is None else previous.of_pool(name))
        for name in config.pools
    }


def _keeping(pool: str, places: list[Place], config: DeploymentConfig, previous: KnownPlacement | None) -> list[Place]:
    """Return the places of a pool beside main that keep the disks that it has, and stop no host with local SSDs."""
    before = None if previous is None else previous.of_pool(pool)
    if before is None:
        return places
    return without_stops(keeping_disks(places, config.of_pool(pool), before, pool), before, pool)


def _zones(config: DeploymentConfig, previous: KnownPlacement | None) -> dict[str, str]:
    """Return the zones of the region, each with the state that blocks it; the known zones if the list is denied."""
    kept = previous.zones if previous is not None and previous.is_complete else ()
    named = dict.fromkeys([*config.zones, *kept], "")
    asked = lambda: zones_of(str(config.project), str(config.region))  # noqa: E731  # reads as a word
    return unless_denied(asked, named or None, "the zones of the stack file and its placement")


def existing_subnet(config: DeploymentConfig, previous: KnownPlacement | None = None) -> str | None:
    """Return the subnet that the stack file names. Raises ConfigError if it is in another network or does not exist.

    If the login may not read it, an existing stack keeps the subnet that it already uses.
    """
    if config.network.id is None:
        return None
    (name,) = config.network.subnets
    try:
        subnet = ask("Subnetworks", "get", project=config.project, region=config.region, subnetwork=name)
    except DeniedError:
        if previous is not None and previous.is_complete and name in previous.subnets.values():
            return name
        raise
    except MissingError:
        what, hint = f"{name} does not exist in {config.region}", "write the name of a subnet of that region"
        raise ConfigError(what, where="network.subnets[0]", hint=hint) from None
    network = subnet.network.rpartition("/")[2]
    if network != config.network.id:
        what, hint = f"{name} belongs to {network}", f"write a subnet of {config.network.id}"
        raise ConfigError(what, where="network.subnets[0]", hint=hint)
    return name
