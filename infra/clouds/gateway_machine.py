"""The gateway's own machine on AWS and GCP: the zones that can have it, and what it is made of.

It is in the zone of the machines with engines: traffic between zones costs money and time.
"""

from collections.abc import Callable, Mapping, Sequence

from core.errors import ConfigError
from infra.clouds.candidates import Place, zone_kept
from infra.config import DeploymentConfig
from infra.config.rules.gateway_machine import KEY, gateway_type
from infra.contract.stack_placement import GatewayPlacement, KnownPlacement, Placement

GPU_IMAGE, PLAIN_IMAGE = "deep-learning", "ubuntu-24.04"
"""The image with GPU drivers is too large for the root disk of the gateway's own machine, which gets the other one."""


def types_to_look_up(config: DeploymentConfig) -> tuple[str, ...]:
    """Return the machine types of a stack, each once: those that engines may get, then that of the gateway."""
    own = gateway_type(config)
    of_engines = (each for view in config.by_pool.values() for each in engine_types(view))
    return tuple(dict.fromkeys([*of_engines, *([] if own is None else [own])]))


def engine_types(config: DeploymentConfig) -> tuple[str, ...]:
    """Return the machine types that engines of the pool main may get, in order."""
    return (str(config.machine.type), *config.machine.fallbacks)


def beside_gateway(
    places: list[Place],
    offered: Mapping[str, Sequence[str]],
    config: DeploymentConfig,
    previous: KnownPlacement | None,
) -> list[Place]:
    """Return the places whose zone also offers the type of the gateway's own machine.

    A stack that is complete stays in its zone: another type of gateway does not move it, and a gateway of this type is
    there already. Raises ConfigError if no place remains, or if the zone of a complete stack does not offer the type.
    """
    own = gateway_type(config)
    if own is None:
        return places
    zones, stays_in = set(offered[own]), zone_kept(config, previous)
    has_it = previous is not None and previous.gateway is not None and previous.gateway.machine_type == own
    if stays_in is not None:
        if stays_in not in zones and not has_it:
            raise ConfigError(
                f"{own} is not offered in {stays_in}, where the stack is",
                where=KEY,
                hint=_offered_hint(offered[own]),
            )
        zones.add(stays_in)
    kept = [place for place in places if place[0] in zones]
    if not kept:
        what = f"{own} is not offered in {', '.join(dict.fromkeys(zone for zone, _type in places))}"
        raise ConfigError(what, where=KEY, hint=_offered_hint(offered[own]))
    return kept


def _offered_hint(zones: Sequence[str]) -> str:
    other = "write another type"
    return f"it is offered in {', '.join(zones)}; {other}" if zones else other


def gateway_placement(
    config: DeploymentConfig, previous: Placement | None, image: str, resolve: Callable[[str], str]
) -> GatewayPlacement | None:
    """Return what the gateway's own machine is made of; None if the stack has none.

    `image` is that of the other machines, `resolve` looks up another one by its name.
    """
    own = gateway_type(config)
    if own is None:
        return None
    if config.machine.image != GPU_IMAGE:
        return GatewayPlacement(machine_type=own, image=image)
    recorded = None
    if previous is not None and previous.gateway is not None and previous.image_name == GPU_IMAGE:
        recorded = previous.gateway.image
    return GatewayPlacement(machine_type=own, image=recorded or resolve(PLAIN_IMAGE))
