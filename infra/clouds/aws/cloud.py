"""Cloud `aws`: implements infra/clouds/cloud.py with the modules of this folder."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from catalog.prices import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.automation.loading import no_garbage
from infra.clouds.aws import host_starts
from infra.clouds.aws.api import account, hints
from infra.clouds.aws.orphans import search
from infra.clouds.aws.orphans.guard_duty import GUARD_DUTY_ENDPOINT, GUARD_DUTY_GROUP
from infra.clouds.aws.placing import candidates, disk_speed
from infra.clouds.candidates import Candidate, replaced_for
from infra.clouds.cloud import Cloud
from infra.clouds.disk_speed import DataVolume
from infra.clouds.finding import Finding
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S, CloudResource, Found
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

if TYPE_CHECKING:
    from infra.contract.deployment import Deployment

EMPTY = "their data volumes are also replaced with empty ones"
"""A volume cannot leave its zone."""


class Aws(Cloud):
    """AWS."""

    def deploy(self, config: DeploymentConfig, place: Callable[[], KnownPlacement]) -> "Deployment":
        """Declare the resources of a stack."""
        # Imported here: the SDK takes a second, and only the Pulumi program needs it.
        with no_garbage():
            from infra.clouds.aws.program.program import deploy_stack
        return deploy_stack(config, place())

    def findings(self, config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
        """Return the findings of preflight."""
        from infra.clouds.aws.preflight import checks

        return checks.findings(config, stack, placement)

    def candidates(self, config: DeploymentConfig, previous: KnownPlacement | None) -> list[Candidate]:
        """Return the places to try, best first."""
        return candidates.candidates(config, previous)

    def replaced(self, config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
        """Return the hosts that an `up` replaces as far as the two placements show it; a preview shows the rest."""
        volumes = f"; {EMPTY}" if previous.zone != first.zone else ""
        notices = []
        for pool in config.machines:
            before, after = previous.of_pool(pool), first.of_pool(pool)
            why = replaced_for(before, after) if before is not None and after is not None else []
            whose = "" if pool == MAIN else f" of pool {pool}"
            if why:
                notices.append(f"the hosts{whose} are replaced because of {', '.join(why)}{volumes}")
        return notices

    def data_volume(self, config: DeploymentConfig, machine_type: str) -> DataVolume:
        """Return the data volume of each host: gp3 for every machine type."""
        return disk_speed.data_volume(config)

    def least_data_gib(self, config: DeploymentConfig) -> int:
        """Return 0: the speed of gp3 does not depend on its size."""
        return 0

    def out_of_stock(self, text: str) -> str | None:
        """Return AWS's text if an error only means that a zone has no such machine."""
        return candidates.out_of_stock(text)

    def hint_for(self, text: str) -> str:
        """Return what to do about an error of AWS."""
        return hints.hint_for(text)

    def refuse_other_login(self, placement: Placement) -> None:
        """Raise UsageError for a login to another account: it cannot see the stack's resources."""
        account.refuse_other_login(placement)

    def provider_environment(self, project: str | None) -> dict[str, str]:
        """Return nothing: the provider needs only a login."""
        return {}

    def await_ends(self, placement: Placement) -> None:
        """Wait until no host is about to stop or end."""
        host_starts.await_ends(placement)

    def wake(self, placement: Placement) -> list[str]:
        """Start stopped hosts."""
        return host_starts.wake(placement)

    def runs(self, placement: Placement) -> bool:
        """Return whether a host with an engine runs or starts."""
        return host_starts.engines_run(placement)

    def places(self) -> list[str]:
        """Return the regions of the account, and the services without a region."""
        return search.places()

    def find_in(self, place: str) -> Found:
        """Return the resources of all stacks in one place."""
        return search.find_in(place)

    def resources(self, placement: Placement) -> Found:
        """Return the resources of a placement that AWS has."""
        return search.find_resources(placement.region, placement.id)

    def is_known(self, resource: CloudResource, known: set[str]) -> bool:
        """Return whether the state has a resource, by id or name, or as a part of a resource that it has.

        Resources of GuardDuty in a network count as known until the network itself is removed.
        """
        if resource.kind in (GUARD_DUTY_ENDPOINT.name, GUARD_DUTY_GROUP.name):
            return True
        if resource.kind == "volume" and "Attachments" not in resource.detail:
            return True  # found by tags only: it may be the root disk of a host that the state has
        names = {resource.id}
        if resource.kind == "budget":
            names.add(f"{resource.detail['AccountId']}:{resource.id}")
        attached = {each.get("InstanceId") for each in resource.detail.get("Attachments", [])}
        return bool((names | attached) & known)  # a root disk belongs to its instance

    def cost(self, resource: CloudResource) -> str:
        """Return a text with the cost of keeping a volume or a bucket."""
        item = DISK_ITEM[disk_speed.GP3] if resource.kind == "volume" else BUCKET_ITEM["aws"]
        return keeping_cost("aws", resource.region, item, resource.size_gib)

    def remove_resources(self, resources: Iterable[CloudResource], *, deadline_s: float = REMOVE_DEADLINE_S) -> None:
        """Remove resources and wait until they no longer exist."""
        search.remove_resources(resources, deadline_s=deadline_s)


CLOUD = Aws()
