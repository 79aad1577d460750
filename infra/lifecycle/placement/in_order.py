"""The zones and machine types that an `up` tries, in order, and what a person can do when none has capacity."""

from dataclasses import replace

from core.console import say, step
from infra.clouds.candidates import Candidate, is_bound
from infra.clouds.cloud import Cloud
from infra.clouds.resources.denied_calls import DeniedError
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement
from infra.lifecycle.placement.optional_parts import all_parts
from infra.lifecycle.placement.trying import ELSEWHERE, offered


def places_to_try(
    config: DeploymentConfig, stack: str, cloud: Cloud, previous: KnownPlacement | None
) -> list[Candidate]:
    """Return the candidates. Their placements name the optional parts that the stack may have afterwards.

    Raises DeployError when there are none.
    """
    with step("look up image, zones and prices"):
        candidates = offered(cloud.candidates(config, previous), stack)
        if previous is not None and config.has_spot:
            candidates = _beside_hosts(candidates, previous, cloud)
    parts = all_parts(config, previous)
    return [replace(each, placement=each.placement.model_copy(update={"parts": parts})) for each in candidates]


def _beside_hosts(candidates: list[Candidate], previous: KnownPlacement, cloud: Cloud) -> list[Candidate]:
    """Return the candidates for a spot stack: while one of its hosts runs, only those in its zone.

    A stack may leave its zone when all its hosts are gone. Once AWS or GCP had ended one of two hosts, and the zone had
    no second machine: `up` removed the running host too, and created both in another zone.
    """
    there = [each for each in candidates if each.placement.zone == previous.zone]
    if not previous.is_complete or not there or len(there) == len(candidates):
        return candidates
    try:
        runs = cloud.runs(previous)
    except DeniedError as error:
        say(f"  ! could not check whether hosts run: {error}; the stack stays in {previous.zone}")
        runs = True
    return there if runs else candidates


def advice(config: DeploymentConfig, candidates: list[Candidate], previous: KnownPlacement | None) -> str:
    """Return what a person can do when no candidate has capacity."""
    zone = candidates[0].placement.zone
    if previous is None or zone != previous.zone or not is_bound(config, previous):
        return ELSEWHERE
    whose = " of that pool" if config.pools else ""
    return (
        f"the data volume is in {zone}: name machine.fallbacks{whose}, try later, or write `zones` without {zone} to"
        " move, which creates a new, empty volume"
    )
