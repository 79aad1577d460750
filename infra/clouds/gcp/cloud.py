"""Cloud `gcp`: implements infra/clouds/cloud.py with the modules of this folder."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from catalog.prices import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.automation.loading import no_garbage
from infra.clouds.candidates import Candidate
from infra.clouds.cloud import Cloud
from infra.clouds.disk_speed import DataVolume
from infra.clouds.finding import Finding
from infra.clouds.gcp import host_starts
from infra.clouds.gcp.api import client, hints
from infra.clouds.gcp.orphans import search
from infra.clouds.gcp.placing import candidates, disk_speed, replacements
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S, CloudResource, Found
from infra.clouds.sizes import data_gib
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

if TYPE_CHECKING:
    from infra.contract.deployment import Deployment


class Gcp(Cloud):
    """GCP."""

    def deploy(self, config: DeploymentConfig, place: Callable[[], KnownPlacement]) -> "Deployment":
        """Declare the resources of a stack."""
        # Imported here: the SDK takes a second, and only the Pulumi program needs it.
        with no_garbage():
            from infra.clouds.gcp.program.program import deploy_stack
        return deploy_stack(config, place())

    def findings(self, config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
        """Return the findings of preflight."""
        from infra.clouds.gcp.preflight import checks

        return checks.findings(config, stack, placement)

    def candidates(self, config: DeploymentConfig, previous: KnownPlacement | None) -> list[Candidate]:
        """Return the places to try, best first."""
        return candidates.candidates(config, previous)

    def replaced(self, config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
        """Return the hosts that an `up` replaces, each with the reason."""
        return replacements.replaced(config, previous, first)

    def data_volume(self, config: DeploymentConfig, machine_type: str) -> DataVolume:
        """Return the data disk of each host."""
        return disk_speed.data_volume(config, data_gib(config), machine_type)

    def least_data_gib(self, config: DeploymentConfig) -> int:
        """Return the least size at which a balanced disk is fast enough; 0 for Hyperdisk."""
        return disk_speed.least_gib(config)

    def out_of_stock(self, text: str) -> str | None:
        """Return GCP's text if an error only means that a zone has no such machine."""
        return candidates.out_of_stock(text)

    def hint_for(self, text: str) -> str:
        """Return what to do about an error of GCP."""
        return hints.hint_for(text)

    def refuse_other_login(self, placement: Placement) -> None:
        """Do nothing: every call names the placement's project, and GCP refuses a login that may not see it."""

    def provider_environment(self, project: str | None) -> dict[str, str]:
        """Return the variables that name the stack's project to APIs that require one from a personal login."""
        return client.provider_environment(str(project))

    def await_ends(self, placement: Placement) -> None:
        """Wait until no host is about to stop or end."""
        host_starts.await_ends(placement)

    def wake(self, placement: Placement) -> list[str]:
        """Start stopped hosts."""
        return host_starts.wake(placement)

    def runs(self, placement: Placement) -> bool:
        """Return whether a host with an engine runs or starts."""
        return replacements.runs(placement)

    def places(self) -> list[str]:
        """Return the projects in the stack files and placements of this checkout."""
        return search.places()

    def find_in(self, place: str) -> Found:
        """Return the resources of all stacks in one project."""
        return search.find_in(place)

    def resources(self, placement: Placement) -> Found:
        """Return the resources of a placement that GCP has."""
        return search.find_resources(str(placement.project), placement.id)

    def is_known(self, resource: CloudResource, known: set[str]) -> bool:
        """Return whether the state has a resource by its id, or as the root disk of an instance that it has."""
        return bool({resource.id, *resource.detail.get("users", ())} & known)

    def cost(self, resource: CloudResource) -> str:
        """Return a text with the cost of keeping a disk or a bucket."""
        if resource.kind == "disk":
            region, item = resource.region.rpartition("-")[0], DISK_ITEM[disk_speed.BALANCED]
        else:
            region, item = resource.region, BUCKET_ITEM["gcp"]
        return keeping_cost("gcp", region, item, resource.size_gib)

    def remove_resources(self, resources: Iterable[CloudResource], *, deadline_s: float = REMOVE_DEADLINE_S) -> None:
        """Remove resources and wait until they no longer exist."""
        search.remove_resources(resources, deadline_s=deadline_s)


CLOUD = Gcp()
