"""Rules about the gateway's own machine on AWS and GCP: its type, and the ports between it and the engines."""

from collections.abc import Iterator

from catalog.clouds import RENTED
from catalog.machines import find_machine
from core.ports import DOOR_PORTS
from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.location import unknown_type

KEY = "gateway.machine.type"

DEFAULT_TYPE = {"aws": "t3.medium", "gcp": "e2-standard-2"}
"""The smallest types in the catalog: HAProxy has one thread, and 512 MiB of memory are kept for it."""

GATEWAY_MARKET = "on_demand"
"""Also in front of spot engines: when the cloud ends a spot machine, the gateway answers that the engine is gone."""


def gateway_type(config: DeploymentConfig) -> str | None:
    """Return the type of the gateway's machine; None if the stack has none, or if its cloud has no types."""
    spec = config.gateway.machine
    return None if spec is None else spec.type or DEFAULT_TYPE.get(config.cloud)


def gateway_type_fits(config: DeploymentConfig) -> Iterator[Problem]:
    """The type is known, has no GPU, and starts from the image of the other machines."""
    name = gateway_type(config)
    if config.cloud not in RENTED or name is None:
        return
    row = find_machine(config.cloud, name)
    if row is None:
        yield unknown_type(config.cloud, name, KEY, DEFAULT_TYPE)
        return
    small = f"leave it out, or write e.g. {DEFAULT_TYPE[config.cloud]}"
    if row.gpu is not None:
        yield Problem(KEY, f"{name} has a GPU ({row.gpu.name}), which a gateway does not use", small)
    first = find_machine(config.cloud, config.machine.type or "")
    if first is not None and first.arch != row.arch:
        what = f"{name} is {row.arch}, and {first.type} is {first.arch}: all machines start from one image"
        yield Problem(KEY, what, small)


def door_ports_are_free(config: DeploymentConfig) -> Iterator[Problem]:
    """Clients do not use a port that engines open to the gateway's machine only: a guard would refuse it in `up`."""
    port = config.gateway.port
    if config.cloud in RENTED and config.gateway.machine is not None and port in DOOR_PORTS:
        yield Problem("gateway.port", f"{port} is for the gateway's machine to reach the engines", "write 443")


GATEWAY_MACHINE_RULES = (gateway_type_fits, door_ports_are_free)
