"""Preflight for AWS: identity, region, types and zones, image, key, network, quotas, price."""

from collections.abc import Iterator

from core.errors import ConfigError
from infra.aws.api import call, pages
from infra.aws.images import image_exists, image_name, resolve_image
from infra.aws.quotas import quota_findings
from infra.aws.stock import offered, spot_prices, zones_of
from infra.config import DeploymentConfig
from infra.finding import Finding
from infra.lease import Lease
from infra.machines import find_machine
from infra.preflight.common import (
    Checks,
    bucket_is_there,
    documentation_addresses,
    login_key_is_there,
    offers,
    price_finding,
    run,
)
from infra.prices import machine_usd
from infra.settling import refuse_move

ENABLED = ("opt-in-not-required", "opted-in")


def findings(config: DeploymentConfig, stack: str, lease: Lease | None) -> list[Finding]:
    """Return what was found. Raises UsageError without a valid login: then nothing else could be asked."""
    region = str(config.region)
    found = [_identity(config, lease), _region(config, lease)]
    if found[-1].level == "error":
        return found
    checks: Checks = (
        lambda: _types(config),
        lambda: _image(config, lease),
        lambda: login_key_is_there(config, stack),
        lambda: _network(config),
        lambda: documentation_addresses(config),
        lambda: bucket_is_there(config, lambda name: call("s3", region, "head_bucket", Bucket=name)),
        lambda: quota_findings(config, region, lease),
        lambda: _price(config),
    )
    return [*found, *run(checks, "AWS")]


def _identity(config: DeploymentConfig, lease: Lease | None) -> Finding:
    seen = call("sts", str(config.region), "get_caller_identity")
    who, wanted = str(seen["Arn"]), config.account or (lease and lease.account)
    if wanted is not None and seen["Account"] != wanted:
        return Finding(
            "error", "login", f"{who} is not of account {wanted}", "log in to that account, or mend `account`"
        )
    return Finding("ok", "login", who)


def _region(config: DeploymentConfig, lease: Lease | None) -> Finding:
    try:
        refuse_move(config, lease)
    except ConfigError as error:
        return Finding("error", error.where, error.what, error.hint)
    region = str(config.region)
    names = [{"Name": "region-name", "Values": [region]}]
    seen = call("ec2", "us-east-1", "describe_regions", AllRegions=True, Filters=names)["Regions"]
    if not seen:
        return Finding("error", "region", f"AWS has no region {region}", "write one like ap-northeast-2")
    if seen[0].get("OptInStatus", ENABLED[0]) not in ENABLED:
        return Finding("error", "region", f"{region} is not enabled", "enable it in the account's settings")
    return Finding("ok", "region", f"{region} is enabled")


def _types(config: DeploymentConfig) -> Iterator[Finding]:
    region, types = str(config.region), (str(config.machine.type), *config.machine.fallbacks)
    if config.network.id is None:
        known = zones_of(region)
        for zone in config.zones:
            if zone not in known:
                yield Finding("error", "zones", f"{zone} is no zone of this account", f"they are {', '.join(known)}")
    yield from offers(config, offered(region, types))


def _image(config: DeploymentConfig, lease: Lease | None) -> Iterator[Finding]:
    region, name = str(config.region), image_name(config.machine.image)
    machine = find_machine("aws", str(config.machine.type))
    try:
        recorded = lease.image if lease and lease.image_name == name else None
        identity = recorded or resolve_image(name, region, machine.arch if machine else "x86_64")
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
        return
    if image_exists(identity, region):
        yield Finding("ok", "machine.image", f"{name} is {identity}" + (" (recorded)" if recorded else ""))
    else:
        yield Finding("error", "machine.image", f"{identity} is not there in {region}", "write another image")


def _network(config: DeploymentConfig) -> Iterator[Finding]:
    if config.network.id is None:
        return
    wanted = [{"Name": "subnet-id", "Values": list(config.network.subnets)}]
    seen = call("ec2", str(config.region), "describe_subnets", Filters=wanted)["Subnets"]
    places, public = {str(each["SubnetId"]): str(each["VpcId"]) for each in seen}, _public_subnets(config)
    spanned = sorted({str(each["AvailabilityZone"]) for each in seen})
    for index, zone in enumerate(config.zones):
        if spanned and zone not in spanned:  # without any, none is there: that is told for each of them
            what, hint = f"{zone} has none of network.subnets", f"theirs are {', '.join(spanned)}"
            yield Finding("error", f"zones[{index}]", what, hint)
    for index, subnet in enumerate(config.network.subnets):
        key = f"network.subnets[{index}]"
        if subnet not in places:
            yield Finding("error", key, f"{subnet} is not there in {config.region}", "write one that is")
        elif places[subnet] != config.network.id:
            yield Finding("error", key, f"{subnet} belongs to {places[subnet]}", f"name one of {config.network.id}")
        elif subnet not in public:
            what = f"{subnet} has no route to an internet gateway: its hosts' public addresses would not answer"
            yield Finding("error", key, what, "name a public subnet, or add the route")


def _public_subnets(config: DeploymentConfig) -> set[str]:
    """Return those of the named subnets whose route table, or the network's main one, leads to an internet gateway."""
    inside = [{"Name": "vpc-id", "Values": [str(config.network.id)]}]
    tables = pages("ec2", str(config.region), "describe_route_tables", "RouteTables", Filters=inside)
    leads_out: dict[str | None, bool] = {}
    for table in tables:
        is_public = any(str(route.get("GatewayId", "")).startswith("igw-") for route in table["Routes"])
        for tie in table["Associations"]:
            leads_out[None if tie.get("Main") else tie.get("SubnetId")] = is_public
    return {each for each in config.network.subnets if leads_out.get(each, leads_out.get(None, False))}


def _price(config: DeploymentConfig) -> Iterator[Finding]:
    region, name, market = str(config.region), str(config.machine.type), config.machine.market
    asked = spot_prices(region, (name,)) if market == "spot" else []
    spot = min((each.usd_per_hour for each in asked if each.zone in (config.zones or (each.zone,))), default=None)
    yield from price_finding(config, spot)
    cap, on_demand = config.machine.spot_max_usd_per_hour, machine_usd("aws", region, name, "on_demand")
    if spot is not None and cap is not None and cap < spot:
        yield Finding(
            "error", "machine.spot_max_usd_per_hour", f"{cap:g} is below the market's ${spot:.4f}", "write more"
        )
    if spot is not None and on_demand is not None and spot > on_demand:
        yield Finding("warning", "price", f"spot costs more than on demand (${on_demand:.3f}) now", "write on_demand")
