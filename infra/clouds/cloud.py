"""The Protocol that every cloud implements for the rest of the repository: one class per cloud, in its own folder.

Nothing outside a cloud's folder names a cloud or imports its modules (tests/unit/test_import_order.py). Shared code
gets a cloud from infra/clouds/registry.py. Facts that need no code are in catalog/clouds.py.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from infra.clouds.candidates import Candidate
from infra.clouds.disk_speed import DataVolume
from infra.clouds.finding import Finding
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S, CloudResource, Found
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

if TYPE_CHECKING:
    from infra.contract.deployment import Deployment  # imports Pulumi, which takes half a second


class Cloud(Protocol):
    """One cloud. Those in `RENTED` implement all methods up to `Every cloud`; the others subclass NotRented."""

    # -- Choose a place and create machines

    def deploy(self, config: DeploymentConfig, place: Callable[[], KnownPlacement]) -> "Deployment":
        """Declare the resources of a stack in the Pulumi program. `place` returns the placement."""
        ...

    def findings(self, config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
        """Return what preflight found. Raises UsageError without a valid login."""
        ...

    def candidates(self, config: DeploymentConfig, previous: KnownPlacement | None) -> list[Candidate]:
        """Return the places to try, best first."""
        ...

    def replaced(self, config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
        """Return the hosts that an `up` to the placement `first` replaces, each with the reason."""
        ...

    def data_volume(self, config: DeploymentConfig, machine_type: str) -> DataVolume:
        """Return the data volume of each host. Calls no API."""
        ...

    def least_data_gib(self, config: DeploymentConfig) -> int:
        """Return the size from which on a data volume is fast enough for the engine's start. Calls no API."""
        ...

    # -- Errors and logins

    def out_of_stock(self, text: str) -> str | None:
        """Return the cloud's words if an error only means that a zone has no such machine, else None."""
        ...

    def hint_for(self, text: str) -> str:
        """Return what to do about an error that the Pulumi engine repeats; empty if its own words say it."""
        ...

    def refuse_other_login(self, placement: Placement) -> None:
        """Raise UsageError for a login that cannot see the resources of a placement."""
        ...

    def provider_environment(self, project: str | None) -> dict[str, str]:
        """Return environment variables that the Pulumi provider needs for this login."""
        ...

    # -- Hosts that stop and start

    def await_ends(self, placement: Placement) -> None:
        """Wait until no host is about to stop or end. Raises DeployError when that takes too long."""
        ...

    def wake(self, placement: Placement) -> list[str]:
        """Start stopped hosts that the Pulumi engine does not start; return them, a line each."""
        ...

    def runs(self, placement: Placement) -> bool:
        """Return whether a host with an engine runs, or is about to."""
        ...

    # -- Resources that the cloud has

    def places(self) -> list[str]:
        """Return where `find_in` can look: regions, projects, or services."""
        ...

    def find_in(self, place: str) -> Found:
        """Return the resources of all stacks in one place, in the order in which they can be removed."""
        ...

    def resources(self, placement: Placement) -> Found:
        """Return the resources of a placement that the cloud has, in the order in which they can be removed."""
        ...

    def is_known(self, resource: CloudResource, known: set[str]) -> bool:
        """Return whether a state with the `known` ids has a resource, by itself or as part of another."""
        ...

    def cost(self, resource: CloudResource) -> str:
        """Return in words what it costs to keep a resource."""
        ...

    def remove_resources(self, resources: Iterable[CloudResource], *, deadline_s: float = REMOVE_DEADLINE_S) -> None:
        """Remove resources and wait until they no longer exist. Raises DeployError if some remain."""
        ...

    # -- Every cloud. These defaults apply unless the cloud's own class overrides them.

    hosts_stay: bool = False
    """Whether `down` leaves the hosts in place: they belong to somebody else and keep serving."""

    whose_machines: str = ""
    """Who owns the machines of a cloud that rents none."""

    looked_at: str = ""
    """What preflight checked in a cloud that rents no machines."""

    def processors(self, config: DeploymentConfig) -> list[tuple[str, bool | None]]:
        """Return each machine that a stack has or may get, and whether it has a GPU. None: unknown type."""
        from catalog.machines import find_machine

        types = {
            name if pool == MAIN else f"{name} (pool {pool})": find_machine(config.cloud, name)
            for pool, each in config.machines.items()
            for name in (each.type or "", *each.fallbacks)
        }
        return [(name, None if row is None else row.gpu is not None) for name, row in types.items()]

    def refuse_too_large(self, config: DeploymentConfig, stack: str) -> None:
        """Raise ConfigError if a stack needs more than this computer has."""
        return

    def prepare(self, config: DeploymentConfig, stack: str) -> None:
        """Install what the cloud needs on this computer, and refuse a stack that is too large.

        Called before the Pulumi engine starts. The engine would do this without output, and an interruption would leave
        an unfinished creation in the state.
        """
        return

    def remaining(self, stack: str) -> list[str]:
        """Return a line for each part of a stack of this checkout that this computer still has."""
        return []

    def remove_remaining(self, stack: str) -> None:
        """Remove what `remaining` lists."""
        return

    def is_off(self, stack: str, host: str) -> bool:
        """Return whether a host is known to be switched off. Calls no API."""
        return False

    def kept_machines(self, stack: str) -> dict[str, str]:
        """Return the machines that `up` starts, not creates, if a refresh does not find them.

        By name, each with what is wrong with it then, e.g. `is off`. Calls no API.
        """
        return {}

    def missing_words(self, hosts: str) -> str:
        """Return the line that `refresh` prints about missing hosts."""
        return f"no longer exist: {hosts}; `up` creates them again"
