"""The Pulumi program: the stack's cloud declares the machines, and provisioning gets the outputs.

infra/contract/outputs.py defines the outputs. infra/lifecycle/placement/of_program.py finds the stack's place.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

import pulumi

from core.errors import ConfigError, DeployError
from core.interrupts import INTERRUPTED
from infra.clouds.registry import cloud_of
from infra.config import DeploymentConfig, parse_deployment
from infra.config.models.proxy import ProxySpec
from infra.contract.stack_placement import KnownPlacement
from serving.spec.models import ServingSpec

REPORTED = 32
"""Exit status for Pulumi's language host: the error is already printed, so it prints no traceback."""

HostList = pulumi.Output[list[dict[str, Any]]]


def with_proxy(hosts: HostList, proxy: ProxySpec | None) -> HostList:
    """Return the hosts with their proxy. It contains the place where the proxy's login is stored, not the login."""
    if proxy is None:
        return hosts
    written = proxy.model_dump(mode="json", exclude_unset=True)
    return hosts.apply(lambda made: [{**each, "proxy": written} for each in made])


def _exported(serving: ServingSpec) -> dict[str, Any]:
    """Return what hosts serve as provisioning gets it: the keys of the file."""
    return serving.model_dump(mode="json", exclude_unset=True)


def _place(config: DeploymentConfig, stack: str) -> KnownPlacement:
    """Return where the stack is put."""
    from infra.lifecycle.placement.of_program import own_placement  # other clouds do not need its imports

    return own_placement(config, stack)


def main() -> None:
    """Declare the resources of the stack's config, and export the outputs."""
    stack = pulumi.get_stack()
    file = f"stacks/Pulumi.{stack}.yaml"
    value = pulumi.Config("llm-deploy").get_object("deployment")
    if value is None:
        raise ConfigError("the key is missing", where=f"{file}: config.llm-deploy:deployment", hint="see stacks/")
    config = parse_deployment(value, file)
    deployment = cloud_of(config.cloud).deploy(config, lambda: _place(config, stack))
    pulumi.export("stack", stack)
    pulumi.export("hosts", with_proxy(deployment.hosts, config.proxy))
    pulumi.export("serving", _exported(config.serving))
    if config.pools:
        pulumi.export("pools", {name: _exported(pool.serving) for name, pool in config.pools.items()})
    pulumi.export("gateway", config.gateway.exported())
    if deployment.gateway_host is not None:
        pulumi.export("gateway_host", deployment.gateway_host)
    if deployment.placement is not None:
        pulumi.export("placement", deployment.placement)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


# The CLI ends the program with SIGINT after a resource has failed. Python would then wait for threads whose requests
# nobody answers any more, until the CLI kills it after 5 s.
signal.signal(signal.SIGINT, _leave)
try:
    main()
except DeployError as error:
    pulumi.log.error("\n".join(filter(None, (str(error), error.detail))))
    sys.exit(REPORTED)
