"""Candidates on AWS: the places and machine types to try, in order, and what is looked up once for all of them.

An existing stack keeps its place and type as long as its file allows them; the others follow as fallbacks.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime

from catalog.machines import find_machine
from core.errors import ConfigError
from infra.clouds.aws.api.account import account_of_stack
from infra.clouds.aws.api.client import call
from infra.clouds.aws.placing.images import image_name, resolve_image
from infra.clouds.aws.placing.stock import offered, spot_prices, zones_of
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
from infra.clouds.pool_machines import beside_pools, pool_placements
from infra.clouds.resources.denied_calls import unless_denied
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

LEAST_ZONES = 2
"""The least number of zones of a stack's own network, so that hosts can go to another zone."""

CODES = (
    r"Insufficient(?:Instance|Host|Volume|ReservedInstances?)?Capacity|UnfulfillableCapacity|SpotMaxPriceTooLow"
    r"|Unsupported|VolumeTypeNotAvailableInZone"
)
"""Codes of EC2 for a machine or disk that this place does not have now, or never has. Quotas and permissions are not
listed: another place does not help."""

ENDED = r"Server\.(?:Insufficient\w*Capacity|SpotInstance(?:Termination|Shutdown)|InternalError)"
"""Why EC2 ends an accepted instance while it starts (docs.aws.amazon.com: instance termination, state reasons). Codes
that begin with `Client.` have their cause in the account, such as a KMS key that cannot be used."""

OUT_OF_STOCK = re.compile(
    rf"(?:api error|AWS StartInstances:) (?P<refused>(?:{CODES}|{ENDED}): [^\n]*)"
    rf"|unexpected state '[a-z-]+'[^\n]* last error: (?P<ended>{ENDED}[^\n]*)"
)
"""The text is the Pulumi plugin's, which repeats the text of the API."""

QUOTA = re.compile(r"VcpuLimitExceeded|MaxSpotInstanceCountExceeded|InstanceLimitExceeded|VolumeLimitExceeded")


def candidates(
    config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None = None
) -> list[Candidate]:
    """Return the candidates to try, best first.

    Raises ConfigError if there is none, UsageError for a login to another account than the stack's.
    """
    refuse_move(config, previous)
    account = account_of_stack(config, previous)
    region, types = str(config.region), engine_types(config)
    tried, spanned, subnets = _zones(config, previous)
    asked = types_to_look_up(config)
    everywhere = dict.fromkeys(asked, tried)
    listed = unless_denied(lambda: offered(region, asked), everywhere, "the types and zones of the file")
    places = offered_places({each: listed[each] for each in types}, tried, config, previous)
    no_prices: dict[tuple[str, str], float] = {}
    prices = unless_denied(lambda: _prices(config), no_prices, "the order of the file")
    if prices:
        places.sort(key=lambda place: (types.index(place[1]), _spot_usd(config, prices, place)))
    places = beside_gateway(staying(places, config, previous), listed, config, previous)
    beside = beside_pools(places, listed, config, previous)
    base, images = _base(config, previous, now) | {"account": account}, _images(config, previous)
    return [
        Candidate(
            Placement(
                **base,
                zone=zone,
                machine_type=machine_type,
                zones=tuple(spanned),
                subnets=subnets,
                pools=pool_placements(of_pools, images),
            ),
            prices.get((zone, machine_type)) if config.machine.market == "spot" else None,
            {
                pool: prices[zone, each]
                for pool, each in of_pools.items()
                if config.machines[pool].market == "spot" and (zone, each) in prices
            },
        )
        for (zone, machine_type), of_pools in beside
    ]


def out_of_stock(text: str) -> str | None:
    """Return AWS's text if an error only means that this place has no machine; None for every other error."""
    found = OUT_OF_STOCK.search(text)
    return found["refused"] or found["ended"] if found and not QUOTA.search(text) else None


def _base(config: DeploymentConfig, previous: KnownPlacement | None, now: datetime | None) -> dict[str, object]:
    """Return the settings that do not depend on the place: kept from the previous placement, or chosen now."""
    region = str(config.region)
    identity, began_at = identity_and_beginning(config, previous, now)
    name, image = _image(config, previous)
    return {
        "id": identity,
        "region": region,
        "began_at": began_at,
        "image_name": name,
        "image": image,
        "gateway": gateway_placement(config, previous, image, lambda each: resolve_image(each, region, _arch(config))),
    }


def _image(config: DeploymentConfig, previous: Placement | None) -> tuple[str, str]:
    """Return the name and the id of the image of one pool: the recorded one, or the current one."""
    name = image_name(config.machine.image)
    recorded = previous.image if previous is not None and previous.image_name == name else None
    return name, recorded or resolve_image(name, str(config.region), _arch(config))


def _images(config: DeploymentConfig, previous: Placement | None) -> dict[str, tuple[str, str]]:
    """Return the images of the pools beside main, by pool."""
    return {
        name: _image(config.of_pool(name), None if previous is None else previous.of_pool(name))
        for name in config.pools
    }


def _arch(config: DeploymentConfig) -> str:
    machine = find_machine("aws", str(config.machine.type))
    return machine.arch if machine else "x86_64"


def _zones(config: DeploymentConfig, previous: KnownPlacement | None) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the zones to try, the zones that the network spans, and an existing network's subnets by zone.

    A stack's own network keeps its subnets even if AWS does not report their zones now, because hosts are in them.
    """
    if config.network.id is not None:
        subnets = existing_subnets(config, previous)
        _refuse_without_subnet(config, subnets)
        tried = list(config.zones or subnets)
        return tried, tried, subnets
    kept = list(previous.zones) if previous is not None and previous.is_complete else []
    named = dict.fromkeys([*config.zones, *kept], "")
    states = unless_denied(
        lambda: zones_of(str(config.region)), named or None, "the zones of the stack file and its placement"
    )
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
            what, hint = f"no subnet of network.subnets is in {zone}", f"write one of their zones: {', '.join(subnets)}"
            raise ConfigError(what, where=f"zones[{index}]", hint=hint)


def existing_subnets(config: DeploymentConfig, previous: KnownPlacement | None) -> dict[str, str]:
    """Return the subnets that the stack file names, one for each zone.

    Of two in one zone, the first is used. An existing stack keeps its subnet, because its hosts cannot leave it.
    Raises ConfigError if one is not in that network.
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
            hint = f"write subnets of {config.network.id}"
            raise ConfigError(f"{subnet} belongs to {each['VpcId']}", where=where, hint=hint)
        by_zone.setdefault(zone, subnet)
    return by_zone


def _spot_usd(config: DeploymentConfig, prices: Mapping[Place, float], place: Place) -> float:
    """Return the price of an hour of all spot machines, if those of the pool main are in `place`."""
    zone, of_main = place
    total = 0.0
    for pool, view in config.by_pool.items():
        types = (of_main,) if pool == MAIN else engine_types(view)
        known = (prices[zone, each] for each in types if (zone, each) in prices)
        total += view.machine.count * next(known, float("inf")) if view.machine.market == "spot" else 0.0
    return total


def _prices(config: DeploymentConfig) -> dict[tuple[str, str], float]:
    """Return the spot market's prices by zone and type; empty for on-demand machines."""
    spot = [view for view in config.by_pool.values() if view.machine.market == "spot"]
    types = tuple(dict.fromkeys(each for view in spot for each in engine_types(view)))
    if not types:
        return {}
    return {(each.zone, each.machine_type): each.usd_per_hour for each in spot_prices(str(config.region), types)}
