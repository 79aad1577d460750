"""Preflight checks that AWS and GCP share: zones, types, image, bucket, login key, documentation CIDRs, price."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from core.errors import ConfigError, DeployError, UsageError
from infra.clouds.costs.running_costs import odd_hours, price_words
from infra.clouds.costs.stack_price import NO_PRICES, stack_price
from infra.clouds.finding import Finding
from infra.clouds.gateway_machine import engine_types
from infra.clouds.program.login_key import key_of_file
from infra.clouds.resources.denied_calls import MissingError
from infra.config import DeploymentConfig
from infra.config.models.pool import machine_key
from infra.config.rules.gateway_machine import KEY as GATEWAY_TYPE_KEY
from infra.config.rules.gateway_machine import gateway_type
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

DOCUMENTATION = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:", "3fff:")
"""Prefixes of RFC 5737, 3849 and 9637."""

OWN_ADDRESS = "write your own with /32 behind it, as `curl -s https://checkip.amazonaws.com` prints it"


Check = Callable[[], Iterator[Finding]]
Checks = Iterable[Check]


def run(checks: Checks, cloud: str) -> list[Finding]:
    """Return the findings of all checks; a failed query is a warning. Raises UsageError if the login fails."""
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except UsageError:
            raise
        except DeployError as error:
            found.append(Finding("warning", error.where or cloud, f"could not be queried: {error.what}", error.hint))
    return found


def zones_are_up(config: DeploymentConfig, states: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the zones of the stack file that are unknown or down; `states` is what a cloud's `zones_of` returns.

    A zone that is down is an error only if all are: `up` tries the next one, and existing hosts stay.
    """
    usable = [zone for zone in config.zones or states if not states.get(zone, "-")]
    for index, zone in enumerate(config.zones):
        if zone not in states:
            what, hint = f"{zone} is not a zone of {config.region}", f"its zones are {', '.join(states)}"
            yield Finding("error", f"zones[{index}]", what, hint)
    for zone in config.zones or states:
        if states.get(zone):
            level: Literal["warning", "error"] = "warning" if usable else "error"
            yield Finding(level, "zones", f"{zone} is {states[zone]}", "name other zones, or try later")


def image_finding(name: str, identity: str, placement: KnownPlacement | None, *, is_there: bool, what: str) -> Finding:
    """Return whether an image can be used; existing hosts need theirs only when one is replaced."""
    is_recorded = placement is not None and placement.image == identity
    if is_there:
        return Finding("ok", "machine.image", f"{name} is {identity}" + (" (recorded)" if is_recorded else ""))
    if is_recorded and placement is not None and placement.is_complete:
        hint = "existing hosts keep running; write another image before a host must be replaced"
        return Finding("warning", "machine.image", f"{identity} {what}", hint)
    return Finding("error", "machine.image", f"{identity} {what}", "write another image")


def of_each_pool(
    config: DeploymentConfig,
    placement: KnownPlacement | None,
    check: Callable[[DeploymentConfig, KnownPlacement | None], Iterator[Finding]],
) -> Iterator[Finding]:
    """Yield what `check` finds for each pool; keys of machines of pools beside main begin with `pools`."""
    for pool, view in config.by_pool.items():
        for found in check(view, None if placement is None else placement.of_pool(pool)):
            about = found.about
            if pool != MAIN:
                about = f"pools.{pool}.{about}" if about.startswith("machine.") else f"{about} (pool {pool})"
            yield replace(found, about=about)


def offers(config: DeploymentConfig, everywhere: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Yield where the types of each pool are offered; `everywhere` has the zones by type.

    All pools are in one zone.
    """
    shared: set[str] | None = None
    for pool, view in config.by_pool.items():
        offered = {each: everywhere[each] for each in engine_types(view)}
        yield from _offers(config, offered, machine_key(pool))
        usable = {zone for zones in offered.values() for zone in zones if not config.zones or zone in config.zones}
        if usable and shared is not None and shared and not shared & usable:
            what = f"{', '.join(offered)}: not offered in {', '.join(sorted(shared))}, where the other machines can be"
            yield Finding("error", f"{machine_key(pool)}.type", what, f"it is offered in {', '.join(sorted(usable))}")
        shared = usable if shared is None else shared & usable


def _offers(config: DeploymentConfig, offered: Mapping[str, list[str]], machine: str) -> Iterator[Finding]:
    """Yield where each type of one pool is offered, in the order of the stack file; `machine` is the pool's key."""
    for index, (machine_type, zones) in enumerate(offered.items()):
        key = f"{machine}.fallbacks[{index - 1}]" if index else f"{machine}.type"
        usable = [zone for zone in zones if not config.zones or zone in config.zones]
        if usable:
            yield Finding("ok", key, f"{machine_type} is offered in {', '.join(usable)}")
            continue
        what = f"{machine_type} is not offered in {', '.join(config.zones) or config.region}"
        hint = f"it is offered in {', '.join(zones)}" if zones else "choose another type or region"
        # A missing fallback costs one place to try. A missing first type makes the file wrong.
        yield Finding("warning" if index else "error", key, what, hint)


def gateway_offer(config: DeploymentConfig, offered: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Yield where the type of the gateway's own machine is offered beside a type for engines."""
    own = gateway_type(config)
    if own is None:
        return
    of_pools = ({zone for each in engine_types(view) for zone in offered[each]} for view in config.by_pool.values())
    beside = set.intersection(*of_pools)
    usable = [zone for zone in offered[own] if not config.zones or zone in config.zones]
    both = [zone for zone in usable if zone in beside]
    if both:
        yield Finding("ok", GATEWAY_TYPE_KEY, f"{own} is offered in {', '.join(both)}")
    elif beside:  # Otherwise the types for engines are the fault.
        types = ", ".join(dict.fromkeys(str(each.type) for each in config.machines.values()))
        what = f"{own} is not offered in {', '.join(config.zones) or config.region} beside {types}"
        hint = f"it is offered in {', '.join(offered[own])}" if offered[own] else "choose another type"
        yield Finding("error", GATEWAY_TYPE_KEY, what, hint)


def bucket_is_there(config: DeploymentConfig, look: Callable[[str], object]) -> Iterator[Finding]:
    """Yield an error if a bucket that the stack file names does not exist; `look` queries the cloud for it.

    Raises DeniedError if the login may not query it. Hosts may still read it: they use their own role.
    """
    spec = config.storage.bucket
    if spec is None or spec.name is None:
        return
    try:
        look(spec.name)
    except MissingError:
        yield Finding(
            "error", "storage.bucket.name", f"{spec.name} does not exist", "write the name of a bucket that exists"
        )


def login_key_is_there(config: DeploymentConfig, stack: str) -> Iterator[Finding]:
    """Yield whether the login key can be used. Makes none."""
    identity_file = config.machine.identity_file
    if identity_file is None:
        yield Finding("ok", "machine.identity_file", f"not set: `make up STACK={stack}` makes a key")
        return
    try:
        key = key_of_file(identity_file)
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
    else:
        yield Finding("ok", "machine.identity_file", str(key.private_file))


def documentation_addresses(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield documentation-only CIDRs, such as those of our example stacks: no client can come from them."""
    network = config.network
    for key, cidrs in (("ssh_cidrs", network.ssh_cidrs), ("client_cidrs", network.client_cidrs)):
        for index, cidr in enumerate(cidrs):
            if cidr.startswith(DOCUMENTATION):
                what = f"{cidr} is a documentation address: no client has it"
                yield Finding("error", f"network.{key}[{index}]", what, OWN_ADDRESS)


def price_finding(config: DeploymentConfig, spot_usd_per_hour: Mapping[str, float] = NO_PRICES) -> Iterator[Finding]:
    """Yield the price of the stack; `spot_usd_per_hour` has the market's prices by pool, if the cloud reported them."""
    price = stack_price(config, spot_usd_per_hour)
    if price is None:
        what, hint = (
            f"our table has no price for {config.machine.type} in {config.region}",
            "see the cloud's price list",
        )
        yield Finding("warning", "price", what, hint)
        return
    if price.not_priced:
        yield Finding("warning", "price", price_words(config, price), "see the cloud's price list")
        return
    yield Finding("ok", "price", price_words(config, price))


def weekly_hours_are_now(config: DeploymentConfig, placement: Placement | None) -> Iterator[Finding]:
    """Yield warnings about an `up` now, given the weekly hours of the stack file."""
    for line in odd_hours(config, placement, datetime.now(UTC)):
        yield Finding("warning", "lifetime.weekly", line)
