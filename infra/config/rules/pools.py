"""Rules about pools, and the rules about machines and models applied to each pool."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from catalog.clouds import MADE, RENTED
from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.bucket_sources import host_may_read
from infra.config.rules.capacity import POOL_RULES
from infra.config.rules.cloud_keys import keys_belong, needed_keys_are_there
from infra.config.rules.location import image, machine_types
from infra.config.rules.spot_and_access import (
    can_be_stopped,
    credits_go_with_type,
    market,
    needs_spot,
    root_disk_holds_image,
)
from serving.spec.models import ServingSpec
from serving.spec.pool_name import names_are_free
from serving.spec.rules import door_ports_differ, gateway_fits_servings

Rule = Callable[[DeploymentConfig], Iterable[Problem]]

RULES: tuple[Rule, ...] = (
    keys_belong,
    needed_keys_are_there,
    machine_types,
    image,
    host_may_read,
    market,
    can_be_stopped,
    needs_spot,
    credits_go_with_type,
    root_disk_holds_image,
    *POOL_RULES,
)
"""Rules that join `machine` and `serving` of one pool with the rest of the file."""

OF_ALL_POOLS = ("lifetime.weekly", "storage.data_gib", "storage.root_gib")
"""Keys of the stack that a pool may not fit."""

OF_MAIN = {"identity_file": "the login key of all machines", "placement_timeout_s": "the time limit for all machines"}
"""Keys of `machine` that count for the stack."""


def pools_can_be_made(config: DeploymentConfig) -> Iterator[Problem]:
    """Pools have names of their own, one gateway in front of them, and a cloud that makes them."""
    yield from names_are_free(config.pools)
    if not config.pools:
        return
    if config.cloud in MADE and config.gateway.machine is None:
        yield Problem("pools", "needs one gateway in front of all pools", "write gateway.machine: {}")


def each_pool_fits(config: DeploymentConfig) -> Iterator[Problem]:
    """Each pool follows the rules of `machine` and `serving`."""
    said = {each.key for rule in RULES for each in rule(config)} if config.pools else set()
    for name, pool in config.pools.items():
        for problem in (each for rule in RULES for each in rule(config.of_pool(name))):
            if problem.key.partition(".")[0] in ("machine", "serving"):
                yield replace(problem, key=f"pools.{name}.{problem.key}")
            elif problem.key in OF_ALL_POOLS and problem.key not in said:
                yield replace(problem, what=f"{problem.what} (pool {name})")
        for key, what in OF_MAIN.items():
            if config.cloud in RENTED and key in pool.machine.model_fields_set:
                hint = f"leave it out, or write machine.{key}"
                yield Problem(f"pools.{name}.machine.{key}", f"is {what}, not of one pool", hint)


def gateway_fits_pools(config: DeploymentConfig) -> Iterator[Problem]:
    """The gateway's names, caps and ports fit what the pools serve."""
    servings = servings_by_key(config)
    yield from gateway_fits_servings(servings, config.gateway)
    if config.gateway.machine is not None:
        for key, serving in servings.items():
            yield from door_ports_differ(serving, key)


def servings_by_key(config: DeploymentConfig) -> Mapping[str, ServingSpec]:
    """Return what each pool serves by its key in the file, the pool main first."""
    return {"serving": config.serving, **{f"pools.{name}.serving": pool.serving for name, pool in config.pools.items()}}


POOLS_RULES = (pools_can_be_made, each_pool_fits, gateway_fits_pools)
