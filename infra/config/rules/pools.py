"""Rules about pools, and the rules about machines and models applied to each pool."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from catalog.clouds import RENTED
from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.bucket_sources import host_may_read
from infra.config.rules.capacity import POOL_RULES
from infra.config.rules.cloud_keys import keys_belong
from infra.config.rules.location import image
from serving.spec.models import ServingSpec
from serving.spec.pool_name import names_are_free
from serving.spec.rules import door_ports_differ, gateway_fits_servings

Rule = Callable[[DeploymentConfig], Iterable[Problem]]

RULES: tuple[Rule, ...] = (keys_belong, image, host_may_read, *POOL_RULES)
"""Rules that join `machine` and `serving` of one pool with the rest of the file."""


def pools_can_be_made(config: DeploymentConfig) -> Iterator[Problem]:
    """Pools have names of their own, one gateway in front of them, and a cloud that makes them."""
    yield from names_are_free(config.pools)
    if not config.pools:
        return
    if config.cloud in RENTED:
        hint = "leave pools out, or use cloud local or existing"
        yield Problem("pools", f"cannot be created on cloud {config.cloud} yet", hint)
    elif config.cloud == "local" and config.gateway.machine is None:
        yield Problem("pools", "needs one gateway in front of all pools", "write gateway.machine: {}")


def each_pool_fits(config: DeploymentConfig) -> Iterator[Problem]:
    """Each pool follows the rules of `machine` and `serving`."""
    for name in config.pools:
        view = config.of_pool(name)
        for problem in (each for rule in RULES for each in rule(view)):
            if problem.key.partition(".")[0] in ("machine", "serving"):
                yield replace(problem, key=f"pools.{name}.{problem.key}")


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
