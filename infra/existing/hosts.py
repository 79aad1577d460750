"""The hosts of an inventory as a deployment without resources.

Takes the inventory's hosts only: what they serve is the stack file's to say. Reaches no host.
"""

from pathlib import Path
from typing import Any

import pulumi
from pydantic import Field, ValidationError

from core.errors import ConfigError
from core.frozen import Frozen
from core.strict_yaml import read_yaml
from core.words import words
from infra.config import DeploymentConfig
from infra.deployment import Deployment
from infra.outputs import HostRecord
from serving.spec_files import full_path


class Inventory(Frozen):
    """What is taken from an inventory file."""

    hosts: tuple[HostRecord, ...] = Field(min_length=1, description="The hosts, as in docs/inventory.md.")


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
        inventory = Inventory.model_validate({"hosts": hosts})
    except ValidationError as error:
        raise words(error, name, Inventory) from None
    return tuple(host.at_home(path.parent) for host in inventory.hosts)
