"""The hosts of an inventory as a deployment without resources.

Takes only the hosts from the inventory: the stack file says what they serve. Connects to no host.
"""

from pathlib import Path
from typing import Any

import pulumi
from pydantic import ValidationError

from core.errors import ConfigError
from core.paths import full_path
from core.reading.strict_yaml import read_yaml
from core.reading.words import words
from infra.config import DeploymentConfig
from infra.contract.deployment import Deployment
from infra.contract.outputs import HostRecord, Hosts


def deploy(config: DeploymentConfig) -> Deployment:
    """Return the hosts of the inventory that `config` names. Raises ConfigError for a wrong value in it."""
    if config.inventory is None:
        raise ConfigError("is missing", where="inventory", hint="name the file with the hosts")
    hosts: list[dict[str, Any]] = [
        host.model_dump(mode="json", exclude_unset=True) for host in read_hosts(str(config.inventory))
    ]
    return Deployment(hosts=pulumi.Output.from_input(hosts))


def read_hosts(name: str) -> tuple[HostRecord, ...]:
    """Return the hosts in the inventory file `name`, with the paths of their keys made absolute."""
    path = full_path(Path(name))
    content = read_yaml(path, shown_as=name)
    hosts = content.get("hosts") if isinstance(content, dict) else None
    try:
        inventory = Hosts.model_validate({"hosts": hosts})
    except ValidationError as error:
        raise words(error, name, Hosts) from None
    return tuple(host.at_home(path.parent) for host in inventory.hosts)
