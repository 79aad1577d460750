"""Rules about overflow that a stack file shows. What only hosts or a manifest of adapters show is refused later."""

from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig

KEY = "gateway.overflow"


def one_gateway_counts(config: DeploymentConfig) -> Iterator[Problem]:
    """Each gateway would count its own spending, so the caps would hold once for each machine."""
    machines = config.machine.count
    if config.gateway.overflow is not None and config.gateway.machine is None and machines > 1:
        what = f"{machines} machines with a gateway each would each spend up to the caps"
        yield Problem(KEY, what, "add gateway.machine: {}, or leave overflow out")


def providers_are_reached_directly(config: DeploymentConfig) -> Iterator[Problem]:
    """The way out opens the addresses of providers, and not a proxy's."""
    if config.gateway.overflow is not None and config.proxy is not None:
        what = "reaches providers directly only, and the hosts reach the internet through a proxy"
        yield Problem(KEY, what, "leave out overflow or proxy")


OVERFLOW_RULES = (one_gateway_counts, providers_are_reached_directly)
