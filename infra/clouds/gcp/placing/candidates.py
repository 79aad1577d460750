"""Leases for GCP: what is looked up once, and the places and types that may be tried, in order.

A stack that stands keeps what it has as long as its file still allows that; the rest follows as fallbacks.
"""

import re
from datetime import UTC, datetime

from core.errors import ConfigError
from infra.clouds.candidates import (
    Candidate,
    identity_and_beginning,
    offered_places,
    refuse_move,
    staying,
    zones_to_try,
)
from infra.clouds.denied_calls import DeniedError, MissingError, unless_denied
from infra.clouds.gcp.api.client import ask
from infra.clouds.gcp.placing.end_of_life import end_of_life, refuse_short_life
from infra.clouds.gcp.placing.images import image_name, resolve_image
from infra.clouds.gcp.placing.local_ssd import without_stops
from infra.clouds.gcp.placing.replacements import keeping_disks, keeps_end
from infra.clouds.gcp.placing.stock import offered, zones_of
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

OUT_OF_STOCK = re.compile(
    r"(?P<told>[^\n]*(?:RESOURCE_POOL_EXHAUSTED|does not have enough resources available to fulfill the request"
    r"|STOCKOUT|resource_availability"
    r"|is currently unavailable in the \S+ zone"
    r"|(?:[Mm]achine|[Aa]ccelerator|[Dd]isk) type (?:with name )?'?\S+ does not exist in zone"
    r"|(?:accelerator|machine|disk)Types/\S+ was not found"
    r"|Error waiting for status:[^\n]*(?:not ?found|STOPPING|TERMINATED|SUSPENDED))[^\n]*)",
)
"""What means that this place has no machine now, or never. Quotas and permissions are not here: they are no better
elsewhere. The plugin repeats the API's message and not always its code (ZONE_RESOURCE_POOL_EXHAUSTED,
ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS). Its wait for the status of a new instance fails when GCP takes a spot
machine back at once."""

QUOTA = re.compile(r"QUOTA_EXCEEDED|quotaExceeded|Quota '\S+' exceeded")


def candidates(
    config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None = None
) -> list[Candidate]:
    """Return the leases that may be tried, best first. Raises ConfigError when none is possible."""
    project, region = str(config.project), str(config.region)
    if previous is not None and previous.project != project:
        what = f"{project} is not where the stack is: it is in {previous.project}"
        raise ConfigError(what, where="project", hint="take it down first, or write that project")
    refuse_move(config, previous)
    types = (str(config.machine.type), *config.machine.fallbacks)
    states = _zones(config, previous)
    tried = zones_to_try(config, previous, states)
    everywhere = dict.fromkeys(types, tried)
    listed = unless_denied(lambda: offered(project, region, types), everywhere, "the types and zones of the file")
    places = staying(offered_places(listed, tried, config, previous), config, previous)
    if previous is not None:
        places = without_stops(keeping_disks(places, config, previous), previous)
    zones = tuple(dict.fromkeys([*states, *tried]))
    subnets = dict.fromkeys(zones, name) if (name := existing_subnet(config, previous)) else {}
    base = _base(config, previous, now)
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    found = [Placement(**base, zone=zone, machine_type=each, zones=zones, subnets=subnets) for zone, each in places]
    refuse_short_life(config, found[0], at)
    keeps = previous is not None and keeps_end(config, previous, found[0])
    return [Candidate(each.model_copy(update={"keeps_end": keeps})) for each in found]


def out_of_stock(text: str) -> str | None:
    """Return GCP's words when an error only means that this place has no machine; None for every other error."""
    found = OUT_OF_STOCK.search(text)
    return found["told"].strip() if found and not QUOTA.search(text) else None


def _base(config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None) -> dict[str, object]:
    """Return what does not depend on the place: kept from the lease before, or settled anew."""
    name = image_name(config.machine.image)
    identity, began_at = identity_and_beginning(config, previous, now, end_of_life)
    recorded = previous.image if previous is not None and previous.image_name == name else None
    return {
        "id": identity,
        "project": config.project,
        "region": config.region,
        "began_at": began_at,
        "image_name": name,
        "image": recorded or resolve_image(name),
    }


def _zones(config: DeploymentConfig, previous: KnownPlacement | None) -> dict[str, str]:
    """Return the zones of the region with what keeps each from use; those that are known here when that is denied."""
    kept = previous.zones if previous is not None and previous.is_complete else ()
    named = dict.fromkeys([*config.zones, *kept], "")
    asked = lambda: zones_of(str(config.project), str(config.region))  # noqa: E731  # reads as a word
    return unless_denied(asked, named or None, "the zones that are known here")


def existing_subnet(config: DeploymentConfig, previous: KnownPlacement | None = None) -> str | None:
    """Return the subnet that the stack file names. Raises ConfigError when it is of another network, or not there.

    A stack that stands in it is not asked to prove it again where the login may not look.
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
        what, hint = f"{name} is not there in {config.region}", "write the name of a subnet of that region"
        raise ConfigError(what, where="network.subnets[0]", hint=hint) from None
    network = subnet.network.rpartition("/")[2]
    if network != config.network.id:
        what, hint = f"{name} belongs to {network}", f"name a subnet of {config.network.id}"
        raise ConfigError(what, where="network.subnets[0]", hint=hint)
    return name
