"""Leases for AWS: what is looked up once, and the places and types that may be tried, in order.

A stack that stands keeps what it has as long as its file still allows that; the rest follows as fallbacks.
"""

import re
from collections.abc import Collection
from datetime import datetime

from core.errors import ConfigError
from infra.aws.account import settled_account
from infra.aws.api import call
from infra.aws.images import image_name, resolve_image
from infra.aws.stock import offered, spot_prices, zones_of
from infra.config import DeploymentConfig
from infra.lease import Lease
from infra.machines import find_machine
from infra.placement import Candidate
from infra.settling import identity_and_beginning, offered_places, refuse_move, staying

LEAST_ZONES = 2
"""A network of ours spans at least so many zones, so that there is somewhere else to go."""

OUT_OF_STOCK = re.compile(
    r"(?:api error|AWS StartInstances:) (?P<told>(?:InsufficientInstanceCapacity|InsufficientHostCapacity"
    r"|InsufficientCapacity|SpotMaxPriceTooLow|Unsupported): [^\n]*)"
)
"""What means that this place has no machine now, or never. Quotas and permissions are not here: they are no better
elsewhere. The words are those of the plugin, which repeats the API's."""


def candidates(config: DeploymentConfig, previous: Lease | None, now: datetime | None = None) -> list[Candidate]:
    """Return the leases that may be tried, best first.

    Raises ConfigError when none is possible, UsageError for a login to another account than the stack's.
    """
    refuse_move(config, previous)
    account = settled_account(config, previous)
    region, types = str(config.region), (str(config.machine.type), *config.machine.fallbacks)
    spanned, subnets = _zones(config, previous)
    tried = list(config.zones) or spanned
    places = offered_places(offered(region, types), tried)
    prices = _prices(config, types)
    if prices:
        places.sort(key=lambda place: (types.index(place[1]), prices.get(place, float("inf"))))
    base = _base(config, previous, now) | {"account": account}
    return [
        Candidate(
            Lease(**base, zone=zone, machine_type=machine_type, zones=tuple(spanned), subnets=subnets),
            prices.get((zone, machine_type)),
        )
        for zone, machine_type in staying(places, tried, config, previous)
    ]


def out_of_stock(text: str) -> str | None:
    """Return AWS's words when an error only means that this place has no machine; None for every other error."""
    found = OUT_OF_STOCK.search(text)
    return found["told"] if found else None


def _base(config: DeploymentConfig, previous: Lease | None, now: datetime | None) -> dict[str, object]:
    """Return what does not depend on the place: kept from the lease before, or settled anew."""
    name, region = image_name(config.machine.image), str(config.region)
    identity, began_at = identity_and_beginning(config, previous, now)
    recorded = previous.image if previous is not None and previous.image_name == name else None
    machine = find_machine("aws", str(config.machine.type))
    arch = machine.arch if machine else "x86_64"
    return {
        "id": identity,
        "region": region,
        "began_at": began_at,
        "image_name": name,
        "image": recorded or resolve_image(name, region, arch),
    }


def _zones(config: DeploymentConfig, previous: Lease | None) -> tuple[list[str], dict[str, str]]:
    """Return the zones that the network spans, those of the stack file first, and an existing network's subnets."""
    if config.network.id is not None:
        subnets = _existing_subnets(config)
        _refuse_zones(config, subnets, "has none of network.subnets", "theirs")
        return list(config.zones or subnets), subnets
    known = zones_of(str(config.region))
    _refuse_zones(config, known, "is no zone of this account", "its zones")
    if not config.zones:
        return known, {}
    kept = [zone for zone in (previous.zones if previous else ()) if zone in known]
    wanted = list(dict.fromkeys([*config.zones, *kept]))
    return [*wanted, *(zone for zone in known if zone not in wanted)][: max(LEAST_ZONES, len(wanted))], {}


def _refuse_zones(config: DeploymentConfig, known: Collection[str], what: str, whose: str) -> None:
    """Raise ConfigError for the first zone of the stack file that is not among those known."""
    for index, zone in enumerate(config.zones):
        if zone not in known:
            raise ConfigError(f"{zone} {what}", where=f"zones[{index}]", hint=f"{whose} are {', '.join(known)}")


def _existing_subnets(config: DeploymentConfig) -> dict[str, str]:
    """Return the subnets that the stack file names, by zone. Raises ConfigError when they are not of that network."""
    seen = call("ec2", str(config.region), "describe_subnets", SubnetIds=list(config.network.subnets))["Subnets"]
    for each in seen:
        if each["VpcId"] != config.network.id:
            where = f"network.subnets[{config.network.subnets.index(each['SubnetId'])}]"
            hint = f"name subnets of {config.network.id}"
            raise ConfigError(f"{each['SubnetId']} belongs to {each['VpcId']}", where=where, hint=hint)
    return {str(each["AvailabilityZone"]): str(each["SubnetId"]) for each in seen}


def _prices(config: DeploymentConfig, types: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """Return the spot market's prices by zone and type; empty for on-demand machines."""
    if config.machine.market != "spot":
        return {}
    return {(each.zone, each.machine_type): each.usd_per_hour for each in spot_prices(str(config.region), types)}
