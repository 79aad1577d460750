"""A cloud that rents no machines: it has no places, no stock, no login and no resources that an API could list."""

from abc import ABC
from collections.abc import Iterable

from infra.clouds.candidates import Candidate
from infra.clouds.cloud import Cloud
from infra.clouds.disk_speed import DataVolume
from infra.clouds.finding import Finding
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S, CloudResource, Found
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement


class NotRented(Cloud, ABC):
    """The methods of all clouds that rent no machines, except `deploy`, which each of them implements."""

    def findings(self, config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
        """Return nothing: no API is asked."""
        return []

    def candidates(self, config: DeploymentConfig, previous: KnownPlacement | None) -> list[Candidate]:
        """Return nothing: there is one place only."""
        return []

    def replaced(self, config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
        """Return nothing: a preview shows which hosts are replaced."""
        return []

    def data_volume(self, config: DeploymentConfig, machine_type: str) -> DataVolume:
        """Raise TypeError: hosts have no data volume."""
        raise TypeError(f"cloud {config.cloud} has no data volumes")

    def least_data_gib(self, config: DeploymentConfig) -> int:
        """Return 0: no speed is known."""
        return 0

    def out_of_stock(self, text: str) -> str | None:
        """Return None: there is no stock."""
        return None

    def hint_for(self, text: str) -> str:
        """Return nothing: there are no errors of a cloud, only this project's own."""
        return ""

    def refuse_other_login(self, placement: Placement) -> None:
        """Do nothing: there is no login."""

    def provider_environment(self, project: str | None) -> dict[str, str]:
        """Return nothing: there is no login."""
        return {}

    def await_ends(self, placement: Placement) -> None:
        """Return at once: the Pulumi engine sees hosts as they are."""

    def wake(self, placement: Placement) -> list[str]:
        """Return nothing: the Pulumi engine starts what is off."""
        return []

    def runs(self, placement: Placement) -> bool:
        """Return False: no host costs money."""
        return False

    def places(self) -> list[str]:
        """Return nothing: `remaining` asks this computer."""
        return []

    def find_in(self, place: str) -> Found:
        """Return nothing: `remaining` asks this computer."""
        return Found()

    def resources(self, placement: Placement) -> Found:
        """Return nothing: `remaining` asks this computer."""
        return Found()

    def is_known(self, resource: CloudResource, known: set[str]) -> bool:
        """Return whether the state has the id of a resource."""
        return resource.id in known

    def cost(self, resource: CloudResource) -> str:
        """Return that it costs nothing."""
        return "costs nothing"

    def remove_resources(self, resources: Iterable[CloudResource], *, deadline_s: float = REMOVE_DEADLINE_S) -> None:
        """Remove nothing: `remove_remaining` does."""
