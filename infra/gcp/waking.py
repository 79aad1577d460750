"""Starting the hosts of a stack that were stopped: by a person, or by a weekly schedule whose start found no stock.

The engine starts only hosts without weekly hours (`desired_status`): others may be asleep.
"""

from core.errors import DeployError
from core.waiting import wait_until
from infra.gcp.api import ask
from infra.gcp.standing import own_instances
from infra.lease import Lease

STOPPED = ("STOPPED", "TERMINATED")
"""Statuses of an instance that can be started."""

START_S = 180.0
"""How long a start may take until GCP says whether it has a machine."""


def wake(lease: Lease) -> list[str]:
    """Start the hosts of a lease that are stopped, and return their names.

    Raises DeployError with GCP's words, such as those that the zone has no machine.
    """
    started = []
    for zone, host in own_instances(lease):
        if host.status in STOPPED:
            _start(str(lease.project), zone, str(host.name))
            started.append(str(host.name))
    return started


def _start(project: str, zone: str, name: str) -> None:
    """Start an instance, and wait until GCP has one or says why not."""
    operation = ask("Instances", "start", project=project, zone=zone, instance=name).name
    where, hint = f"start of {name} in {zone}", "see `gcloud compute operations list`"

    def ended() -> list[str] | None:
        seen = ask("ZoneOperations", "get", project=project, zone=zone, operation=operation)
        done = seen.status.name == "DONE"
        return [f"{each.code}: {each.message}" for each in seen.error.errors] if done else None

    failures = wait_until(
        ended,
        deadline_s=START_S,
        late=lambda: DeployError(f"GCP has not said after {START_S:.0f} s", where=where, hint=hint),
    )
    if failures:
        raise DeployError("; ".join(failures), where=where)
