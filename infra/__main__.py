"""The Pulumi program: lets the stack's cloud make the machines, and exports what provisioning needs
(infra/contract/outputs.py).

Reads the config; knows each cloud by its name alone. infra/lifecycle/own_placement.py says where a stack is put.
"""

import importlib
import sys
from typing import Any, cast

import pulumi

from catalog.clouds import RENTED
from core.errors import ConfigError, DeployError
from infra.config import DeploymentConfig, parse_deployment
from infra.config.models.proxy import ProxySpec
from infra.contract.deployment import Deployment

TOLD = 32
"""Exit status by which Pulumi's language host knows that the error was told, and prints no traceback."""


HostList = pulumi.Output[list[dict[str, Any]]]


def with_proxy(hosts: HostList, proxy: ProxySpec | None) -> HostList:
    """Return the hosts with the proxy that they go through; its login is named by its place only."""
    if proxy is None:
        return hosts
    written = proxy.model_dump(mode="json", exclude_unset=True)
    return hosts.apply(lambda made: [{**each, "proxy": written} for each in made])


def _deploy(config: DeploymentConfig, stack: str) -> Deployment:
    """Let the stack's cloud declare its machines; a rented cloud is told where."""
    cloud = importlib.import_module(f"infra.clouds.{config.cloud}")
    if config.cloud not in RENTED:
        return cast(Deployment, cloud.deploy(config))
    from infra.lifecycle.own_placement import own_placement

    return cast(Deployment, cloud.deploy(config, own_placement(config, stack)))


def main() -> None:
    """Make what the stack's config says, and export it."""
    stack = pulumi.get_stack()
    file = f"stacks/Pulumi.{stack}.yaml"
    value = pulumi.Config("llm-deploy").get_object("deployment")
    if value is None:
        raise ConfigError("the key is missing", where=f"{file}: config.llm-deploy:deployment", hint="see stacks/")
    config = parse_deployment(value, file)
    deployment = _deploy(config, stack)
    pulumi.export("stack", stack)
    pulumi.export("hosts", with_proxy(deployment.hosts, config.proxy))
    pulumi.export("serving", config.serving.model_dump(mode="json", exclude_unset=True))
    pulumi.export("gateway", config.gateway.model_dump(mode="json", exclude_unset=True))
    if deployment.placement is not None:
        pulumi.export("placement", deployment.placement)


try:
    main()
except DeployError as error:
    pulumi.log.error("\n".join(filter(None, (str(error), error.detail))))
    sys.exit(TOLD)
