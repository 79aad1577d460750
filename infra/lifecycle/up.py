"""Creating the machines of a stack, and changing them to what its file says: the steps of `make up`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from core.console import say, step
from core.errors import DeployError
from core.paths import outputs_file
from infra.automation.events import Report
from infra.clouds.candidates import Candidate, lies_elsewhere
from infra.clouds.cloud import Cloud
from infra.clouds.costs.running_costs import known_price, odd_hours
from infra.clouds.costs.weekly_hours import runs_at
from infra.clouds.pool_machines import still_worth_trying
from infra.clouds.program.naming import gateway_name
from infra.clouds.registry import rented_cloud
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement, forget_placement
from infra.lifecycle.attempts import Attempts
from infra.lifecycle.orphans.recovery import recover
from infra.lifecycle.placement.in_order import advice, places_to_try
from infra.lifecycle.placement.login import hand_provider_environment
from infra.lifecycle.placement.previous import previous_placement
from infra.lifecycle.placement.trying import GATEWAY_LATER, Attempt, place, table
from infra.lifecycle.preflight import checks as preflight

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def up(config: DeploymentConfig, stack: str, held: "Stack") -> tuple[Report, list[Attempt]]:
    """Return what the Pulumi engine did, and the places that were tried. Raises DeployError when none has capacity."""
    cloud = rented_cloud(config.cloud)
    if cloud is None:
        return _up_without_placement(held), []
    previous = previous_placement(config, stack, cloud, held)
    _check(config, stack, previous)
    previous = _leave_other_region(config, stack, cloud, previous, held)
    _await_ends(cloud, previous)
    candidates = places_to_try(config, stack, cloud, previous)
    _announce(config, cloud, previous, candidates[0])
    recover(config.cloud, stack, held)
    hand_provider_environment(config.cloud, candidates[0].placement, held)
    report, tried = _try_places(config, stack, cloud, previous, candidates, held)
    if len(tried) > 1:
        say(table(tried))
    return report, tried


def _up_without_placement(held: "Stack") -> Report:
    with step("apply the stack file (Pulumi)"):
        return held.up()


def _check(config: DeploymentConfig, stack: str, previous: KnownPlacement | None) -> None:
    """Run preflight until an `up` of the stack has completed. After that, only warn about odd hours.

    Prints warnings. Raises DeployError with all errors of preflight.
    """
    if previous is not None and outputs_file(stack).exists():  # a first `up` that failed has a placement, too
        for line in odd_hours(config, previous, datetime.now(UTC)):
            say(f"  ! {line}")
        return
    with step("look for problems (preflight)"):
        found = preflight.findings(config, stack, previous)
        for each in found:
            if each.level == "warning":
                say(f"  ! {each}")
        preflight.refuse(found, stack)


def _leave_other_region(
    config: DeploymentConfig, stack: str, cloud: Cloud, previous: KnownPlacement | None, held: "Stack"
) -> KnownPlacement | None:
    """Remove what a first `up` created in a region or project that the file no longer names.

    That `up` had advised to try another region. A complete stack may not move (infra/clouds/candidates.py).
    """
    if previous is None or previous.is_complete or not lies_elsewhere(config, previous):
        return previous
    with step(f"remove what an earlier `up` created in {previous.region}, where it found no machine"):
        cloud.refuse_other_login(previous)
        held.unprotect()  # disks are blank
        held.destroy()
        cloud.remove_resources(cloud.resources(previous), deadline_s=REMOVE_DEADLINE_S)
    forget_placement(stack)
    return None


def _await_ends(cloud: Cloud, previous: KnownPlacement | None) -> None:
    """Wait until no host is stopping or terminating: the Pulumi engine would take such a host for a running one."""
    if previous is None:
        return
    try:
        with step("look for hosts that are stopping or terminating"):
            cloud.await_ends(previous)
    except DeniedError as error:
        say(f"  ! could not check whether hosts are stopping or terminating: {error}; continuing")


def _announce(config: DeploymentConfig, cloud: Cloud, previous: KnownPlacement | None, first: Candidate) -> None:
    """Print which hosts of a complete stack `up` replaces, whether its gateway moves, and the price."""
    if previous is not None and previous.is_complete:
        for line in (*cloud.replaced(config, previous, first.placement), *_moved_gateway(previous, first.placement)):
            say(f"  ! {line}")
    for line in known_price(config, first.spot_usd_per_hour):
        say(f"  {line}")


def _moved_gateway(previous: Placement, first: Placement) -> Iterator[str]:
    """Yield a line if clients of a running stack need another address."""
    if (previous.gateway is None) != (first.gateway is None):
        to = "the machines with engines" if first.gateway is None else "its own machine"
        yield f"the gateway moves to {to}: clients need another address, and get no answer until `make provision` ends"


def _try_places(  # noqa: PLR0917  # six different values
    config: DeploymentConfig,
    stack: str,
    cloud: Cloud,
    previous: KnownPlacement | None,
    candidates: list[Candidate],
    held: "Stack",
) -> tuple[Report, list[Attempt]]:
    """Run the Pulumi engine for one candidate after the other until one has capacity."""
    attempts = Attempts(stack, cloud, previous, held)

    def attempt(candidate: Candidate, left_s: float) -> Report:
        report = attempts.run(candidate, left_s)
        attempts.complete(candidate.placement, shall_run=_shall_run(config))
        return report

    try:
        return place(
            candidates,
            attempt,
            out_of_stock=cloud.out_of_stock,
            stays=lambda error: _stays(error, stack, previous),
            still=lambda left, tried, error: still_worth_trying(
                left, tried, error.resources, stack, is_complete=previous is not None and previous.is_complete
            ),
            timeout_s=config.machine.placement_timeout_s,
            hint=advice(config, candidates, previous),
        )
    except DeployError as error:
        attempts.forget_ended()
        stays = f"  what was created so far stays, and costs money, until `make down STACK={stack}`"
        error.hint = cloud.hint_for(f"{error}\n{error.detail}") or error.hint
        error.detail = "\n".join(filter(None, (error.detail, stays)))
        raise


def _stays(error: DeployError, stack: str, previous: KnownPlacement | None) -> str:
    """Return what to do about the error of a complete stack whose gateway alone has no machine; else an empty text.

    Another place or type would move or change the machines that run.
    """
    is_complete = previous is not None and previous.is_complete
    return GATEWAY_LATER if is_complete and error.resources == (gateway_name(stack),) else ""


def _shall_run(config: DeploymentConfig) -> bool:
    """Return whether hosts should run now: the weekly schedule may have stopped them until its next start."""
    weekly = config.lifetime.weekly
    return weekly is None or runs_at(weekly, datetime.now(UTC))
