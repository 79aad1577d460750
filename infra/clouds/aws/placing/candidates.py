"""Leases for AWS: what is looked up once, and the places and types that may be tried, in order.

A stack that stands keeps what it has as long as its file still allows that; the rest follows as fallbacks.
"""

import re
from collections.abc import Collection
from datetime import datetime

from catalog.machines import find_machine
from core.errors import ConfigError
from infra.clouds.aws.api.account import settled_account
from infra.clouds.aws.api.client import call
from infra.clouds.aws.placing.images import image_name, resolve_image
from infra.clouds.aws.placing.stock import offered, spot_prices, zones_of
from infra.clouds.candidates import (
    Candidate,
    identity_and_beginning,
    offered_places,
    refuse_move,
    staying,
    zones_to_try,
)
from infra.clouds.denied_calls import unless_denied
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

LEAST_ZONES = 2
"""A network of ours spans at least so many zones, so that there is somewhere else to go."""

CODES = (
    r"Insufficient(?:Instance|Host|Volume|ReservedInstances?)?Capacity|UnfulfillableCapacity|SpotMaxPriceTooLow"
    r"|Unsupported|VolumeTypeNotAvailableInZone"
)
"""What EC2 refuses a machine or its disk with when this place has none now, or never. Quotas and permissions are not
here: they are no better elsewhere."""

ENDED = r"Server\.(?:Insufficient\w*Capacity|SpotInstance(?:Termination|Shutdown)|InternalError)"
"""Why EC2 ends an instance that it had accepted, while that starts (docs.aws.amazon.com: instance termination, state
reasons). `Client.` begins what the account did, such as a KMS key that cannot be used."""

OUT_OF_STOCK = re.compile(
    rf"(?:api error|AWS StartInstances:) (?P<refused>(?:{CODES}|{ENDED}): [^\n]*)"
    rf"|unexpected state '[a-z-]+'[^\n]* last error: (?P<ended>{ENDED}[^\n]*)"
)
"""The words are those of the plugin, which repeats the API's."""

QUOTA = re.compile(r"VcpuLimitExceeded|MaxSpotInstanceCountExceeded|InstanceLimitExceeded|VolumeLimitExceeded")


def candidates(
    config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None = None
) -> list[Candidate]:
    """Return the leases that may be tried, best first.

    Raises ConfigError when none is possible, UsageError for a login to another account than the stack's.
    """
    refuse_move(config, previous)
    account = settled_account(config, previous)
    region, types = str(config.region), (str(config.machine.type), *config.machine.fallbacks)
    tried, spanned, subnets = _zones(config, previous)
    everywhere = dict.fromkeys(types, tried)
    listed = unless_denied(lambda: offered(region, types), everywhere, "the types and zones of the file")
    places = offered_places(listed, tried, config, previous)
    no_prices: dict[tuple[str, str], float] = {}
    prices = unless_denied(lambda: _prices(config, types), no_prices, "the order of the file")
    if prices:
        places.sort(key=lambda place: (types.index(place[1]), prices.get(place, float("inf"))))
    base = _base(config, previous, now) | {"account": account}
    return [
        Candidate(
            Placement(**base, zone=zone, machine_type=machine_type, zones=tuple(spanned), subnets=subnets),
            prices.get((zone, machine_type)),
        )
        for zone, machine_type in staying(places, config, previous)
    ]


def out_of_stock(text: str) -> str | None:
    """Return AWS's words when an error only means that this place has no machine; None for every other error."""
    found = OUT_OF_STOCK.search(text)
    return found["refused"] or found["ended"] if found and not QUOTA.search(text) else None


def _base(config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None) -> dict[str, object]:
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


def _zones(config: DeploymentConfig, previous: KnownPlacement | None) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the zones that may be tried, those that the network spans, and an existing network's subnets by zone.

    A network of ours keeps the subnets that it has, whatever AWS answers: hosts stand in them.
    """
    if config.network.id is not None:
        subnets = existing_subnets(config, previous)
        _refuse_without_subnet(config, subnets)
        tried = list(config.zones or subnets)
        return tried, tried, subnets
    kept = list(previous.zones) if previous is not None and previous.is_complete else []
    named = dict.fromkeys([*config.zones, *kept], "")
    states = unless_denied(lambda: zones_of(str(config.region)), named or None, "the zones that are known here")
    tried = zones_to_try(config, previous, states)
    up = [zone for zone, trouble in states.items() if not trouble]
    if not config.zones:
        return tried, list(dict.fromkeys([*kept, *up])), {}
    wanted = list(dict.fromkeys([*tried, *kept]))
    return tried, [*wanted, *(zone for zone in up if zone not in wanted)][: max(LEAST_ZONES, len(wanted))], {}


def _refuse_without_subnet(config: DeploymentConfig, subnets: Collection[str]) -> None:
    """Raise ConfigError for the first zone of the stack file that has no subnet."""
    for index, zone in enumerate(config.zones):
        if zone not in subnets:
            what, hint = f"{zone} has none of network.subnets", f"theirs are {', '.join(subnets)}"
            raise ConfigError(what, where=f"zones[{index}]", hint=hint)


def existing_subnets(config: DeploymentConfig, previous: KnownPlacement | None) -> dict[str, str]:
    """Return the subnets that the stack file names, one for each zone.

    Of two in one zone it is the one that is named first; a stack that stands keeps the one that it has, as its hosts
    cannot leave that. Raises ConfigError when one is not of that network.
    """
    named = list(config.network.subnets)
    kept = previous.subnets if previous is not None and previous.is_complete else {}
    kept = {zone: subnet for zone, subnet in kept.items() if subnet in named}
    return unless_denied(lambda: _asked_subnets(config) | kept, kept or None, "the subnets that the stack has")


def _asked_subnets(config: DeploymentConfig) -> dict[str, str]:
    named = list(config.network.subnets)
    seen = call("ec2", str(config.region), "describe_subnets", SubnetIds=named)["Subnets"]
    by_zone: dict[str, str] = {}
    for each in sorted(seen, key=lambda each: named.index(each["SubnetId"])):
        zone, subnet = str(each["AvailabilityZone"]), str(each["SubnetId"])
        if each["VpcId"] != config.network.id:
            where = f"network.subnets[{named.index(subnet)}]"
            hint = f"name subnets of {config.network.id}"
            raise ConfigError(f"{subnet} belongs to {each['VpcId']}", where=where, hint=hint)
        by_zone.setdefault(zone, subnet)
    return by_zone


def _prices(config: DeploymentConfig, types: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """Return the spot market's prices by zone and type; empty for on-demand machines."""
    if config.machine.market != "spot":
        return {}
    return {(each.zone, each.machine_type): each.usd_per_hour for each in spot_prices(str(config.region), types)}
