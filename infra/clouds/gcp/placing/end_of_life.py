"""When a host on GCP ends: at a moment that no restart moves, while it still runs.

GCP counts a duration (`max_run_duration`) anew from each start, and a host that was restarted would outlive its lease:
it is told a moment (`termination_time`). It deletes only what runs then: hosts that sleep by the week end before they
fall asleep for the last time. Asks no cloud.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from core.errors import ConfigError
from infra.clouds import weekly_hours
from infra.config import DeploymentConfig
from infra.config.models.lifetime import WeeklySchedule
from infra.contract.stack_placement import Placement

BEFORE_SLEEP = timedelta(minutes=5)
"""So long before the last stop a host ends: a stop that came first would keep it, and its disks, for good."""

LATENESS = timedelta(minutes=15)
"""So late GCP may carry out what an instance schedule says."""

POWER_OFF_MARGIN = timedelta(minutes=15)
"""For GCP to delete a host before that powers itself off: what is off is never deleted, and its root disk costs on."""

SHORTEST_LIFE = timedelta(minutes=30)
"""What a host is made for at least: it takes about that long until it serves."""


def end_of_life(config: DeploymentConfig, placement: Placement) -> datetime:
    """Return when GCP deletes the hosts."""
    ends_at, weekly = placement.ends_at(config.lifetime.ttl_hours), config.lifetime.weekly
    if weekly is None:
        return ends_at
    return max(_ends_awake(weekly, placement.began_at, ends_at)).astimezone(UTC)


def refuse_short_life(config: DeploymentConfig, placement: Placement, now: datetime) -> None:
    """Raise ConfigError for hosts made anew that would end before they are of use, or have ended already."""
    ends_at = end_of_life(config, placement)
    if now <= placement.began_at and ends_at - now < SHORTEST_LIFE:
        what = f"the hosts would end at {ends_at:%Y-%m-%d %H:%M} UTC, before they stop for the last time"
        hint = "write more ttl_hours, so that they are started once more, or begin within the hours"
        raise ConfigError(what, where="lifetime", hint=hint)


def powers_off_at(ends_at: datetime) -> datetime:
    """Return when a host powers itself off that GCP has not deleted."""
    return ends_at + POWER_OFF_MARGIN


def _ends_awake(weekly: WeeklySchedule, began_at: datetime, ends_at: datetime) -> Iterator[datetime]:
    """Yield the last moment of each stretch in which a host runs for certain, none after `ends_at`.

    A host runs from when it was made, whatever the hours, and from each start that the clocks do not skip.
    """
    stops = list(weekly_hours.stops(weekly, began_at, ends_at + BEFORE_SLEEP))
    awake = [(began_at, began_at)]
    awake += [
        (start.earliest, start.latest + LATENESS)
        for start in weekly_hours.starts(weekly, began_at, ends_at)
        if start.certain and start.earliest > began_at
    ]
    for starts_at, runs_at in awake:
        # In a night of a clock change a stop may come at either of two moments, also one whose time the clocks skip.
        asleep = [each - BEFORE_SLEEP for stop in stops for each in (stop.earliest, stop.latest) if each > starts_at]
        end = min([*asleep, ends_at])
        if runs_at <= end or starts_at == began_at:
            yield end
