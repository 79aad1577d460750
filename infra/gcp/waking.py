"""Starting the hosts of a stack that were stopped: by a person, or by a weekly schedule whose start found no stock.

Waits before for those that are about to stop or end.

The engine starts only hosts without weekly hours (`desired_status`): others may be asleep.
"""

import time
from collections.abc import Callable

from core.errors import DeployError
from core.waiting import wait_until
from infra.gcp.api import ask
from infra.gcp.standing import own_instances
from infra.lease import Lease
from infra.things import END_S, POLL_S

STARTS = {"STOPPED": "start", "TERMINATED": "start", "SUSPENDED": "resume"}
"""Statuses of an instance that does not run -> the method that lets it run again."""

ENDING = ("PENDING_STOP", "STOPPING", "SUSPENDING")
"""Statuses of an instance that is about to stop; one that is being deleted has STOPPING, too."""

START_S = 180.0
"""How long a start may take until GCP says whether it has a machine."""


def await_ends(
    lease: Lease,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no host of a lease is about to stop or end. Raises DeployError when that takes too long."""
    left: list[str] = []

    def quiet() -> bool | None:
        left[:] = [f"{host.name} is {host.status}" for _zone, host in own_instances(lease) if host.status in ENDING]
        return None if left else True

    wait_until(
        quiet,
        deadline_s=END_S,
        late=lambda: DeployError(f"{', '.join(left)} after {END_S:.0f} s", where="GCP", hint="run it again later"),
        pause_s=POLL_S,
        clock=clock,
        sleep=sleep,
    )


def wake(lease: Lease) -> list[str]:
    """Start the hosts of a lease that are stopped, and return their names.

    Raises DeployError with GCP's words, such as those that the zone has no machine.
    """
    started = []
    for zone, host in own_instances(lease):
        if host.status in STARTS:
            _start(str(lease.project), zone, str(host.name), STARTS[host.status])
            started.append(str(host.name))
    return started


def _start(project: str, zone: str, name: str, method: str) -> None:
    """Start or resume an instance, and wait until GCP has one or says why not."""
    operation = ask("Instances", method, project=project, zone=zone, instance=name).name
    where, hint = f"{method} of {name} in {zone}", "see `gcloud compute operations list`"

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
