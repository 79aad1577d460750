"""Leases for GCP: what is looked up once, and the places and types that may be tried, in order.

A stack that stands keeps what it has as long as its file still allows that; the rest follows as fallbacks.
"""

import re
from datetime import UTC, datetime

from core.errors import ConfigError
from infra.config import DeploymentConfig
from infra.gcp.api import ask
from infra.gcp.end_of_life import end_of_life, refuse_short_life
from infra.gcp.images import image_name, resolve_image
from infra.gcp.standing import keeping_disks, keeps_end
from infra.gcp.stock import offered, zones_of
from infra.lease import Lease
from infra.placement import Candidate
from infra.refusals import MissingError
from infra.settling import identity_and_beginning, offered_places, refuse_move, staying

OUT_OF_STOCK = re.compile(
    r"(?P<told>[^\n]*(?:RESOURCE_POOL_EXHAUSTED|does not have enough resources available to fulfill the request"
    r"|is currently unavailable in the \S+ zone"
    r"|[Mm]achine type (?:with name )?'?\S+ does not exist in zone"
    r"|acceleratorTypes/\S+ was not found)[^\n]*)"
)
"""What means that this place has no machine now, or never. Quotas and permissions are not here: they are no better
elsewhere. The plugin repeats the API's message and not always its code (ZONE_RESOURCE_POOL_EXHAUSTED,
ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS)."""


def candidates(config: DeploymentConfig, previous: Lease | None, now: datetime | None = None) -> list[Candidate]:
    """Return the leases that may be tried, best first. Raises ConfigError when none is possible."""
    project, region = str(config.project), str(config.region)
    if previous is not None and previous.project != project:
        what = f"{project} is not where the stack stands: that is {previous.project}"
        raise ConfigError(what, where="project", hint="take it down first, or write that project")
    refuse_move(config, previous)
    types = (str(config.machine.type), *config.machine.fallbacks)
    known = zones_of(project, region)
    tried = _tried(config, known)
    places = staying(offered_places(offered(project, region, types), tried), tried, config, previous)
    if previous is not None:
        places = keeping_disks(places, config, previous)
    subnets = dict.fromkeys(known, name) if (name := existing_subnet(config)) else {}
    base = _base(config, previous, now)
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    found = [Lease(**base, zone=zone, machine_type=each, zones=tuple(known), subnets=subnets) for zone, each in places]
    refuse_short_life(config, found[0], at)
    keeps = previous is not None and keeps_end(config, previous, found[0])
    return [Candidate(each.model_copy(update={"keeps_end": keeps})) for each in found]


def out_of_stock(text: str) -> str | None:
    """Return GCP's words when an error only means that this place has no machine; None for every other error."""
    found = OUT_OF_STOCK.search(text)
    return found["told"].strip() if found else None


def _base(config: DeploymentConfig, previous: Lease | None, now: datetime | None) -> dict[str, object]:
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


def _tried(config: DeploymentConfig, known: list[str]) -> list[str]:
    """Return the zones that may be tried, in order. Raises ConfigError for one that is not there."""
    wrong = [zone for zone in config.zones if zone not in known]
    if wrong:
        where, hint = f"zones[{config.zones.index(wrong[0])}]", f"its zones are {', '.join(known)}"
        raise ConfigError(f"{wrong[0]} is no zone that is up", where=where, hint=hint)
    return list(config.zones) or known


def existing_subnet(config: DeploymentConfig) -> str | None:
    """Return the subnet that the stack file names. Raises ConfigError when it is of another network, or not there."""
    if config.network.id is None:
        return None
    (name,) = config.network.subnets
    try:
        subnet = ask("Subnetworks", "get", project=config.project, region=config.region, subnetwork=name)
    except MissingError:
        what, hint = f"{name} is not there in {config.region}", "write the name of a subnet of that region"
        raise ConfigError(what, where="network.subnets[0]", hint=hint) from None
    network = subnet.network.rpartition("/")[2]
    if network != config.network.id:
        what, hint = f"{name} belongs to {network}", f"name a subnet of {config.network.id}"
        raise ConfigError(what, where="network.subnets[0]", hint=hint)
    return name
