"""Starts the stopped hosts of a stack: stopped by a person, or by a weekly schedule whose start found no stock.

First waits for hosts that are stopping or ending.

Pulumi starts only hosts without weekly hours (`desired_status`): the others may be stopped on schedule.
"""

import time
from collections.abc import Callable

from core.errors import DeployError
from infra.clouds.gcp.api.client import ask
from infra.clouds.gcp.api.labels import HOST
from infra.clouds.gcp.placing.replacements import own_instances
from infra.clouds.host_states import START_S, wait_for_ends, wait_for_start
from infra.clouds.program.naming import is_gateway
from infra.contract.stack_placement import Placement

STARTS = {"STOPPED": "start", "TERMINATED": "start", "SUSPENDED": "resume"}
"""Status of an instance that does not run -> the method that starts it."""

ENDING = ("PENDING_STOP", "STOPPING", "SUSPENDING")
"""Statuses of an instance that is stopping; one that is being deleted has STOPPING too."""


def await_ends(
    placement: Placement,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no host of a placement is stopping or ending. Raises DeployError if that takes too long."""

    def ending() -> list[str]:
        return [f"{host.name} is {host.status}" for _zone, host in own_instances(placement) if host.status in ENDING]

    wait_for_ends(ending, cloud="GCP", clock=clock, sleep=sleep)


def wake(placement: Placement) -> list[str]:
    """Start the stopped hosts of a placement, those with engines first, and return their names.

    Raises DeployError with GCP's text, for example that the zone has no machine.
    """
    started = []
    for zone, host in sorted(own_instances(placement), key=lambda found: is_gateway(str(found[1].name))):
        if host.status in STARTS:
            try:
                _start(str(placement.project), zone, str(host.name), STARTS[host.status])
            except DeployError as error:
                error.resources = (str(host.labels.get(HOST, "")),)
                raise
            started.append(str(host.name))
    return started


def _start(project: str, zone: str, name: str, method: str) -> None:
    """Start or resume an instance, and wait until GCP has started it or says why not."""
    operation = ask("Instances", method, project=project, zone=zone, instance=name).name
    where, hint = f"{method} of {name} in {zone}", "see `gcloud compute operations list`"

    def ended() -> list[str] | None:
        seen = ask("ZoneOperations", "get", project=project, zone=zone, operation=operation)
        done = seen.status.name == "DONE"
        return [f"{each.code}: {each.message}" for each in seen.error.errors] if done else None

    late = DeployError(f"no answer from GCP after {START_S:.0f} s", where=where, hint=hint)
    wait_for_start(ended, late=late, where=where)
