"""Preflight for AWS: identity, region, types and zones, image, keys, network, roles, quotas, price."""

from collections.abc import Iterator

from catalog.prices import machine_usd
from core.errors import ConfigError, DeployError, UsageError
from infra.clouds.aws.api.client import ENABLED, call, not_enabled, opt_in_state
from infra.clouds.aws.placing.disk_speed import gp3_speed
from infra.clouds.aws.placing.stock import offered, spot_prices, zones_of
from infra.clouds.aws.preflight.disk_key import key_findings
from infra.clouds.aws.preflight.iam import boundary_findings, spot_role_findings
from infra.clouds.aws.preflight.image import image_findings
from infra.clouds.aws.preflight.network import route_findings, subnet_findings
from infra.clouds.aws.preflight.quotas import quota_checks
from infra.clouds.candidates import refuse_move
from infra.clouds.finding import Finding
from infra.clouds.gateway_machine import types_to_look_up
from infra.clouds.preflight.checks import (
    Checks,
    bucket_is_there,
    documentation_addresses,
    gateway_offer,
    login_key_is_there,
    of_each_pool,
    offers,
    price_finding,
    run,
    weekly_hours_are_now,
    zones_are_up,
)
from infra.clouds.preflight.reading_time import reading_finding
from infra.config import DeploymentConfig
from infra.config.models.pool import machine_key
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

ON_DEMAND = "on_demand"


def findings(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
    """Return the findings. Raises UsageError without a valid login: no other check could run."""
    region = str(config.region)
    found = [*_region(config, placement)]
    if any(each.level == "error" for each in found):
        return found
    try:
        found.insert(0, _identity(config, placement))
    except ConfigError as error:  # This region refuses a valid login, whatever AWS says about the region.
        return [*found, Finding("error", error.where, error.what, error.hint)]
    checks: Checks = (
        lambda: _types(config),
        lambda: of_each_pool(config, placement, image_findings),
        lambda: login_key_is_there(config, stack),
        lambda: subnet_findings(config, placement),
        lambda: route_findings(config),
        lambda: documentation_addresses(config),
        lambda: bucket_is_there(config, lambda name: call("s3", region, "head_bucket", Bucket=name)),
        lambda: key_findings(config),
        lambda: boundary_findings(config),
        lambda: spot_role_findings(config),
        *quota_checks(config, placement),
        lambda: of_each_pool(config, placement, lambda view, _of_pool: _reading(view)),
        lambda: _price(config),
        lambda: weekly_hours_are_now(config, placement),
    )
    return [*found, *run(checks, "AWS")]


def _identity(config: DeploymentConfig, placement: Placement | None) -> Finding:
    seen = call("sts", str(config.region), "get_caller_identity")
    who, wanted = str(seen["Arn"]), config.account or (placement and placement.account)
    if wanted is not None and seen["Account"] != wanted:
        return Finding(
            "error", "login", f"{who} is not in account {wanted}", "log in to that account, or correct `account`"
        )
    return Finding("ok", "login", who)


def _region(config: DeploymentConfig, placement: KnownPlacement | None) -> Iterator[Finding]:
    """Yield whether the account may use the region. If the login may not ask, the next calls show it."""
    region = str(config.region)
    try:
        refuse_move(config, placement)
        state = opt_in_state(region)
        if state is not None and state not in ENABLED:
            raise not_enabled(region)
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
    except UsageError:
        raise
    except DeployError as error:
        yield Finding("warning", "region", f"could not be queried: {error.what}", error.hint)
    else:
        if state is None:
            yield Finding("error", "region", f"AWS has no region {region}", "write one like ap-northeast-2")
        else:
            yield Finding("ok", "region", f"{region} is enabled")


def _types(config: DeploymentConfig) -> Iterator[Finding]:
    region = str(config.region)
    if config.network.id is None:
        yield from zones_are_up(config, zones_of(region))
    seen = offered(region, types_to_look_up(config))
    yield from offers(config, seen)
    yield from gateway_offer(config, seen)


def _price(config: DeploymentConfig) -> Iterator[Finding]:
    region = str(config.region)
    names = {pool: str(each.type) for pool, each in config.machines.items() if each.market == "spot"}
    asked = spot_prices(region, tuple(dict.fromkeys(names.values()))) if names else []
    here = [each for each in asked if each.zone in (config.zones or (each.zone,))]
    found = {pool: [each.usd_per_hour for each in here if each.machine_type == name] for pool, name in names.items()}
    spot = {pool: min(prices) for pool, prices in found.items() if prices}
    yield from price_finding(config, spot)
    for pool, usd in spot.items():
        cap, on_demand = config.machines[pool].spot_max_usd_per_hour, machine_usd("aws", region, names[pool], ON_DEMAND)
        if cap is not None and cap < usd:
            key = f"{machine_key(pool)}.spot_max_usd_per_hour"
            yield Finding("error", key, f"{cap:g} is below the market's ${usd:.4f}", "write more")
        if on_demand is not None and usd > on_demand:
            about = "price" if pool == MAIN else f"price (pool {pool})"
            yield Finding("warning", about, f"spot costs more than on demand (${on_demand:.3f}) now", "write on_demand")


def _reading(config: DeploymentConfig) -> Iterator[Finding]:
    yield from reading_finding(config, gp3_speed(config).mib_per_s, "raise storage.data_mib_per_s")
