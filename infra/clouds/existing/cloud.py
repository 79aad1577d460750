"""Cloud `existing`: hosts from an inventory file. Makes nothing and removes nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from infra.clouds.not_rented import NotRented
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement

if TYPE_CHECKING:
    from infra.contract.deployment import Deployment


class Existing(NotRented):
    """Hosts from an inventory file. Methods import what they need: only the Pulumi program needs Pulumi."""

    hosts_stay = True
    whose_machines = "yours"
    looked_at = "checked the stack file (`make plan` checks the hosts)"

    def deploy(self, config: DeploymentConfig, place: Callable[[], KnownPlacement]) -> "Deployment":
        """Return the hosts of the inventory."""
        from infra.clouds.existing.hosts import deploy

        return deploy(config)

    def processors(self, config: DeploymentConfig) -> list[tuple[str, bool | None]]:
        """Return each host of the inventory with an engine, and whether its record has a GPU."""
        from infra.clouds.existing.hosts import read_inventory

        inventory = read_inventory(str(config.inventory), config.pools)
        engines = [host for host in inventory.hosts if host.name != inventory.gateway_host]
        return [(f"host {host.name}", host.gpu is not None) for host in engines]


CLOUD = Existing()
