"""What rented clouds need around the engine: preflight, a lease, places to try, and what a cut-off run left removed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from catalog.clouds import RENTED
from core.console import say, step
from core.errors import DeployError
from core.paths import outputs_file
from infra.automation.events import Report
from infra.clouds.candidates import Candidate, is_bound, lies_elsewhere
from infra.clouds.cloud import Cloud, holder_of, remove_adrift, rented_cloud
from infra.clouds.refusals import DeniedError
from infra.clouds.resources import REMOVE_DEADLINE_S
from infra.clouds.running_costs import cost_record, known_price, odd_hours
from infra.clouds.weekly_hours import runs_at
from infra.config import DeploymentConfig
from infra.contract.stack_placement import (
    PLACEMENT_VARIABLE,
    KnownPlacement,
    Placement,
    Progress,
    forget_placement,
    write_placement,
)
from infra.lifecycle import preflight
from infra.lifecycle.blank_volumes import BlankVolumes, still_blank
from infra.lifecycle.known_placement import begun_again, recorded_placement
from infra.lifecycle.lost_state import refuse_half_lost_state, refuse_lost_state
from infra.lifecycle.optional_parts import all_parts
from infra.lifecycle.placement import ELSEWHERE, Attempt, first_shown, offered, place, table
from infra.lifecycle.volume_speed import speed_lines, volume_speed

if TYPE_CHECKING:
    from infra.automation.stack import Stack

ENDED_AT_START = "unexpected state"
"""Words of the plugin for an instance that was accepted and ended while it started; its state still has it."""


def known_placement(cloud: str, stack: str, held: "Stack") -> KnownPlacement | None:
    """Return the lease in the stack's state, else the one that this checkout noted.

    None for a stack that was never made, and where nothing is rented.
    """
    if cloud not in RENTED:
        return None
    placement, is_exported = recorded_placement(stack, held)
    if placement is not None:
        placement = still_blank(placement, held, exports=is_exported)
        write_placement(stack, placement)  # asked for again when the state is gone
        _hand_provider_environment(cloud, placement, held)
    return placement


def _hand_provider_environment(cloud: str, placement: Placement, held: "Stack") -> None:
    """Let the engine's provider plugin find in its environment what it needs for this login."""
    for name, value in provider_environment(cloud, placement.project).items():
        held.hand_over(name, value)


def provider_environment(cloud: str, project: str | None) -> dict[str, str]:
    """Return the environment variables that the engine's provider plugin needs for this login."""
    rented = rented_cloud(cloud)
    return rented.provider_environment(project) if rented else {}


def refuse_other_login(cloud: str, placement: Placement | None) -> None:
    """Raise UsageError for a login with which the engine would take all of a lease for gone."""
    holder = holder_of(cloud, placement)
    if holder:
        rented, held_placement = holder
        rented.refuse_other_login(held_placement)


def preview(config: DeploymentConfig, stack: str, held: "Stack") -> tuple[Report, dict[str, Any]]:
    """Report what `up` would do, in the place that it would try first; and what that costs, for a result file.

    The cost is empty where nothing is rented.
    """
    cloud, cost = rented_cloud(config.cloud), dict[str, Any]()
    if cloud is not None:
        with step("look up image and zones"):
            previous = _previous(config, stack, cloud, held)
            if previous is not None and not previous.is_complete and lies_elsewhere(config, previous):
                previous = None
            candidate = first_shown(cloud.candidates(config, previous), previous, stack)
        say(f"  {candidate}")
        for line in odd_hours(config, candidate.placement, datetime.now(UTC)):
            say(f"  ! {line}")
        speed = volume_speed(config, candidate.placement.machine_type)
        for line in (*known_price(config, candidate.usd_per_hour), *speed_lines(config, speed)):
            say(f"  {line}")
        cost = {**cost_record(config, candidate.usd_per_hour), "data_volume_speed": speed.record()}
        _hand_provider_environment(config.cloud, candidate.placement, held)
        # The engine refuses to preview that a protected volume is replaced.
        blank = "" if previous is None or "data_volume" in config.storage.keep_on_down else previous.blank_at
        handed = KnownPlacement.of(candidate.placement, Progress(blank_at=blank) if blank else None)
        held.hand_over(PLACEMENT_VARIABLE, handed.model_dump_json())
    with step("ask the Pulumi engine"):
        return held.preview(), cost


def _previous(config: DeploymentConfig, stack: str, cloud: Cloud, held: "Stack") -> KnownPlacement | None:
    """Return the lease to go on from. Raises DeployError when the state of a stack that stands is lost."""
    previous = known_placement(config.cloud, stack, held)
    if previous is None:
        return None
    return begun_again(refuse_lost_state(cloud, stack, previous, held), held, datetime.now(UTC))


def up(config: DeploymentConfig, stack: str, held: "Stack") -> tuple[Report, list[Attempt]]:
    """Make the machines in the first place that has them. Raises DeployError when none has."""
    cloud = rented_cloud(config.cloud)
    if cloud is None:
        with step("bring the machines to what the stack's file says (Pulumi)"):
            return held.up(), []
    previous = _previous(config, stack, cloud, held)
    is_complete = previous is not None and previous.is_complete
    _look_around(config, stack, previous)
    if previous is not None and not is_complete and lies_elsewhere(config, previous):
        _leave(previous, stack, held, cloud)
        previous = None
    _await_ends(cloud, previous)
    candidates = _candidates(config, stack, cloud, previous)
    for line in _what_comes(config, cloud, previous, candidates[0]):
        say(f"  {line}")
    recover(config.cloud, stack, held)
    _hand_provider_environment(config.cloud, candidates[0].placement, held)

    ended: list[Candidate] = []
    volumes = BlankVolumes(previous, held)

    def attempt(candidate: Candidate, left_s: float) -> Report:
        if not is_complete:
            held.unprotect()  # a disk that the attempt before made elsewhere is blank, and must not hold us there
        placement = candidate.placement
        # Not as blank: an interrupted attempt cannot note whether it made a host.
        write_placement(stack, KnownPlacement.of(placement, None if is_complete else Progress()))
        handed = KnownPlacement.of(placement, None if is_complete else Progress(blank_at=volumes.at))
        held.hand_over(PLACEMENT_VARIABLE, handed.model_dump_json())
        try:
            report = held.up(limit_s=left_s)
        except DeployError as error:
            text = f"{error}\n{error.detail}"
            if ENDED_AT_START in text:
                ended.append(candidate)
            if not is_complete:
                no_capacity = cloud.out_of_stock(text) is not None
                progress = Progress(holds_nothing=no_capacity, blank_at=volumes.look_again())
                write_placement(stack, KnownPlacement.of(placement, progress))
            raise
        for host in cloud.wake(candidate.placement) if _shall_run(config) else ():
            say(f"  started {host}, which was stopped")
        write_placement(stack, KnownPlacement.of(placement))
        return report

    try:
        report, tried = place(
            candidates,
            attempt,
            out_of_stock=cloud.out_of_stock,
            timeout_s=config.machine.placement_timeout_s,
            hint=_where_else(candidates[0].placement, previous) if is_bound(config, previous) else ELSEWHERE,
        )
    except DeployError as error:
        if ended:
            _forget_ended(held)
        stays = f"  what was made so far stays, and costs, until `make down STACK={stack}`"
        error.hint = cloud.hint_for(f"{error}\n{error.detail}") or error.hint
        error.detail = "\n".join(filter(None, (error.detail, stays)))
        raise
    if len(tried) > 1:
        say(table(tried))
    return report, tried


def _await_ends(cloud: Cloud, previous: KnownPlacement | None) -> None:
    """Wait for hosts that somebody has just stopped or terminated: the engine takes them for running ones."""
    if previous is None:
        return
    try:
        with step("look for hosts that are about to stop or end"):
            cloud.await_ends(previous)
    except DeniedError as error:
        say(f"  ! whether hosts are about to end could not be asked: {error}; going on")


def _look_around(config: DeploymentConfig, stack: str, previous: KnownPlacement | None) -> None:
    """Run preflight before a stack's first `up` that goes through; before others say what is odd about the hours."""
    if previous is None or not outputs_file(stack).exists():  # a first `up` that failed has left a lease, too
        _look_first(config, stack, previous)
        return
    for line in odd_hours(config, previous, datetime.now(UTC)):
        say(f"  ! {line}")


def _what_comes(
    config: DeploymentConfig, cloud: Cloud, previous: KnownPlacement | None, first: Candidate
) -> Iterator[str]:
    """Yield which hosts of a stack that stands `up` makes again, and the price, a line each."""
    if previous is not None and previous.is_complete:
        for line in cloud.replaced(config, previous, first.placement):
            yield f"! {line}"
    yield from known_price(config, first.usd_per_hour)


def _shall_run(config: DeploymentConfig) -> bool:
    """Return whether hosts shall run now: one that the weekly schedule has stopped sleeps until its next start."""
    weekly = config.lifetime.weekly
    return weekly is None or runs_at(weekly, datetime.now(UTC))


def _candidates(config: DeploymentConfig, stack: str, cloud: Cloud, previous: KnownPlacement | None) -> list[Candidate]:
    """Return the places to try, with the parts that the stack may have afterwards noted in their leases."""
    with step("look up image, zones and prices"):
        candidates = offered(cloud.candidates(config, previous), stack)
        if previous is not None and config.machine.market == "spot":
            candidates = _beside_hosts(candidates, previous, cloud)
    parts = all_parts(config, previous)
    return [replace(each, placement=each.placement.model_copy(update={"parts": parts})) for each in candidates]


def _leave(previous: KnownPlacement, stack: str, held: "Stack", cloud: Cloud) -> None:
    """Remove what a first `up` without success made in another region or project than the file names now.

    To try another region is what that `up` advised. A stack that stands is refused to move
    (infra/clouds/candidates.py).
    """
    with step(f"remove what an earlier `up` left in {previous.region}, as it found no machine there"):
        cloud.refuse_other_login(previous)
        held.unprotect()  # disks are blank
        held.destroy()
        cloud.remove_resources(cloud.resources(previous), deadline_s=REMOVE_DEADLINE_S)
    forget_placement(stack)


def _forget_ended(held: "Stack") -> None:
    """Let the state forget instances that ended while they started: a later attempt does so by itself."""
    try:
        with step("look at what became of the machines"):
            held.refresh()
    except DeployError as error:
        say(f"  ! {error}; the next `up` looks again")


def _beside_hosts(candidates: list[Candidate], previous: KnownPlacement, cloud: Cloud) -> list[Candidate]:
    """Return the candidates for a spot stack: while one of its hosts runs, only those in its zone.

    A stack may leave its zone when all of its hosts are gone. With two, of which AWS or GCP ended one, the other once
    was removed and both made elsewhere, as the zone had no second machine.
    """
    there = [each for each in candidates if each.placement.zone == previous.zone]
    if not previous.is_complete or not there or len(there) == len(candidates):
        return candidates
    try:
        runs = cloud.runs(previous)
    except DeniedError as error:
        say(f"  ! whether hosts run could not be asked: {error}; the stack stays in {previous.zone}")
        runs = True
    return there if runs else candidates


def _look_first(config: DeploymentConfig, stack: str, previous: KnownPlacement | None) -> None:
    """Run preflight, telling its warnings. Raises DeployError with all of its errors."""
    with step("look for what would go wrong (preflight)"):
        found = preflight.findings(config, stack, previous)
        for each in found:
            if each.level == "warning":
                say(f"  ! {each}")
        preflight.refuse(found, stack)


def recover(cloud: str, stack: str, held: "Stack", deadline_s: float = REMOVE_DEADLINE_S) -> None:
    """Remove what a command that was cut off made and could not note: it would be in the way of the next one.

    Raises DeployError when it does not go. Nothing of a stack that stood is removed where the state is empty: then it
    is the state that is missing (another backend, say), and everything would be taken for adrift. Nor is anything where
    it lacks hosts or disks that no command was making.
    """
    if cloud not in RENTED or not held.interrupted:
        return
    placement = known_placement(cloud, stack, held)
    holder = holder_of(cloud, placement)
    known = held.known_ids() if holder else set()
    if holder and placement is not None and (known or not placement.is_complete):
        with step("look for what the interrupted command made and could not note"):
            refuse = partial(refuse_half_lost_state, stack, placement, held)
            for line in remove_adrift(*holder, known, deadline_s, refuse=refuse):
                say(f"  - removed {line}")


def _where_else(first: Placement, previous: KnownPlacement | None) -> str:
    """Return what a person can do whose stack is bound to a zone that has no machine."""
    if previous is None or first.zone != previous.zone:
        return ELSEWHERE
    return (
        f"the data volume lies in {first.zone}: name machine.fallbacks or try later, or write `zones` without"
        f" {first.zone} to move, which makes the volume anew"
    )
