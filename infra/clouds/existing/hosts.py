"""The hosts of an inventory as a deployment without resources.

Takes only the hosts from the inventory: the stack file says what they serve. Connects to no host.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pulumi
from pydantic import ValidationError

from core.errors import ConfigError
from core.paths import full_path
from core.reading.strict_yaml import read_yaml
from core.reading.words import error_of, words
from infra.config import DeploymentConfig
from infra.contract.deployment import Deployment
from infra.contract.outputs import Hosts, pools_fit


def deploy(config: DeploymentConfig) -> Deployment:
    """Return the hosts of the inventory that `config` names. Raises ConfigError for a wrong value in it."""
    if config.inventory is None:
        raise ConfigError("is missing", where="inventory", hint="name the file with the hosts")
    inventory = read_inventory(str(config.inventory), config.pools)
    hosts: list[dict[str, Any]] = [host.model_dump(mode="json", exclude_unset=True) for host in inventory.hosts]
    return Deployment(hosts=pulumi.Output.from_input(hosts), gateway_host=inventory.gateway_host)


def read_inventory(name: str, pools: Collection[str] = ()) -> Hosts:
    """Return the hosts in the inventory file `name`, with the paths of their keys made absolute.

    `pools`: the names of those that the stack file describes beside main.
    """
    path = full_path(Path(name))
    content = read_yaml(path, shown_as=name)
    keys = content if isinstance(content, dict) else {}
    try:
        inventory = Hosts.model_validate({key: keys.get(key) for key in Hosts.model_fields})
    except ValidationError as error:
        raise words(error, name, Hosts) from None
    problems = list(pools_fit(inventory, pools))
    if problems:
        raise error_of(problems, name)
    return inventory.model_copy(update={"hosts": tuple(host.at_home(path.parent) for host in inventory.hosts)})
