"""Starts the stopped hosts of a stack, and waits for those that are stopping or ending."""

import time
from collections.abc import Callable
from typing import Any

from core.errors import DeployError
from infra.clouds.aws.api.client import call, pages
from infra.clouds.aws.api.tags import HOST
from infra.clouds.aws.orphans.resources import tag_filter
from infra.clouds.host_states import START_S, wait_for_ends, wait_for_start
from infra.clouds.program.naming import is_gateway
from infra.contract.stack_placement import Placement

ENDING = ("stopping", "shutting-down")
"""States in which an instance cannot be changed. The plugin treats them like `running`."""

ENDED = ("stopped", "terminated")

WHERE = "AWS StartInstances"
"""Prefix of AWS's text about a failed start, whether it refuses the call or ends the host afterwards."""


def hosts(placement: Placement, *states: str) -> list[Any]:
    """Return the hosts of a placement in one of the states."""
    filters = [*tag_filter(placement.id), {"Name": "instance-state-name", "Values": list(states)}]
    seen = pages("ec2", placement.region, "describe_instances", "Reservations", Filters=filters)
    return [each for reservation in seen for each in reservation["Instances"]]


def engines_run(placement: Placement) -> bool:
    """Return whether a host with an engine runs or starts. The gateway's own machine can leave its zone."""
    return any(not is_gateway(_name(each)) for each in hosts(placement, "pending", "running"))


def await_ends(
    placement: Placement,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no host of a placement is stopping or ending. Raises DeployError if that takes too long."""

    def ending() -> list[str]:
        return [f"{each['InstanceId']} is {each['State']['Name']}" for each in hosts(placement, *ENDING)]

    wait_for_ends(ending, cloud="AWS", clock=clock, sleep=sleep)


def wake(
    placement: Placement,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Start the stopped hosts of a placement, those with engines first, wait until they run, and return their ids.

    A change of type that finds no stock leaves a stopped host of the new type, in which the plugin sees no change.
    Raises DeployError with AWS's text if a host does not start, for example because the zone has no machine.
    """
    stopped = hosts(placement, *ENDED[:1])
    of_gateway = [each for each in stopped if is_gateway(_name(each))]
    started = _start(placement, [each for each in stopped if each not in of_gateway], clock, sleep)
    try:
        return started + _start(placement, of_gateway, clock, sleep)
    except DeployError as error:
        error.resources = tuple(map(_name, of_gateway))
        raise


def _start(
    placement: Placement, stopped: list[Any], clock: Callable[[], float], sleep: Callable[[float], None]
) -> list[str]:
    """Start hosts, wait until they run, and return their ids."""
    before = {str(each["InstanceId"]): _reason(each) for each in stopped}
    if not before:
        return []
    call("ec2", placement.region, "start_instances", InstanceIds=list(before))
    began: set[str] = set()

    def ended() -> list[str] | None:
        seen = {str(each["InstanceId"]): each for each in hosts(placement, "pending", "running", *ENDING, *ENDED)}
        there = {identity: seen[identity] for identity in before if identity in seen}
        began.update(identity for identity, each in there.items() if each["State"]["Name"] not in ENDED)
        # AWS may list a host as stopped just after it accepted the start.
        failed = [
            identity
            for identity, each in there.items()
            if each["State"]["Name"] in (*ENDING, *ENDED) and (identity in began or _reason(each) != before[identity])
        ]
        if failed:
            return [f"{_reason(there[each]) or 'no reason given'} ({each})" for each in failed]
        return [] if all(there.get(each, {}).get("State", {}).get("Name") == "running" for each in before) else None

    late = DeployError(
        f"{', '.join(before)}: no answer from AWS after {START_S:.0f} s", where=WHERE, hint="run the command again"
    )
    wait_for_start(ended, late=late, where=WHERE, clock=clock, sleep=sleep)
    return list(before)


def _name(instance: Any) -> str:
    """Return the name of a host from its tag."""
    return next((str(each["Value"]) for each in instance.get("Tags", []) if each["Key"] == HOST), "")


def _reason(instance: Any) -> str:
    """Return AWS's reason for the state of an instance, `Code: text`; empty if it has none."""
    return str(instance.get("StateReason", {}).get("Message") or "")
