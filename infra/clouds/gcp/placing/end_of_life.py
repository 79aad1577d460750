"""When a host on GCP ends: at a fixed time, while it still runs.

GCP counts a duration (`max_run_duration`) from each start, so a restarted host would outlive its end of life. A time
(`termination_time`) does not move. GCP deletes only instances that run at that time: hosts with weekly hours end before
their last stop. Makes no call.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from core.errors import ConfigError
from infra.clouds.costs import weekly_hours
from infra.config import DeploymentConfig
from infra.config.models.lifetime import WeeklySchedule
from infra.contract.stack_placement import Placement

BEFORE_SLEEP = timedelta(minutes=5)
"""How long before the last stop a host ends. After a stop, GCP would never delete the host and its disks."""

LATENESS = timedelta(minutes=15)
"""How late GCP may run an action of an instance schedule."""

POWER_OFF_MARGIN = timedelta(minutes=15)
"""Time for GCP to delete a host before it powers itself off: a stopped host stays, and its disk costs money."""

SHORTEST_LIFE = timedelta(minutes=30)
"""The shortest life of a host: it needs about that long until it serves."""


def end_of_life(config: DeploymentConfig, placement: Placement) -> datetime:
    """Return when GCP deletes the hosts."""
    ends_at, weekly = placement.ends_at(config.lifetime.ttl_hours), config.lifetime.weekly
    if weekly is None:
        return ends_at
    return max(_ends_awake(weekly, placement.began_at, ends_at)).astimezone(UTC)


def refuse_short_life(config: DeploymentConfig, placement: Placement, now: datetime) -> None:
    """Raise ConfigError if new hosts would end before they can serve, or have already ended."""
    ends_at = end_of_life(config, placement)
    if now <= placement.began_at and ends_at - now < SHORTEST_LIFE:
        what = f"GCP would delete the hosts at {ends_at:%Y-%m-%d %H:%M} UTC, shortly before their last weekly stop"
        hint = "raise ttl_hours, so that the hosts start once more, or run `up` within the weekly hours"
        raise ConfigError(what, where="lifetime", hint=hint)


def powers_off_at(ends_at: datetime) -> datetime:
    """Return when a host powers itself off if GCP has not deleted it."""
    return ends_at + POWER_OFF_MARGIN


def _ends_awake(weekly: WeeklySchedule, began_at: datetime, ends_at: datetime) -> Iterator[datetime]:
    """Yield the end of each period in which a host certainly runs, not after `ends_at`.

    A host runs from its creation, whatever the hours, and from each start that no clock change skips.
    """
    stops = list(weekly_hours.stops(weekly, began_at, ends_at + BEFORE_SLEEP))
    awake = [(began_at, began_at)]
    awake += [
        (start.earliest, start.latest + LATENESS)
        for start in weekly_hours.starts(weekly, began_at, ends_at)
        if start.certain and start.earliest > began_at
    ]
    for starts_at, runs_at in awake:
        # On a clock change, a stop may come at either of two times, also if the clocks skip its time.
        asleep = [each - BEFORE_SLEEP for stop in stops for each in (stop.earliest, stop.latest) if each > starts_at]
        end = min([*asleep, ends_at])
        if runs_at <= end or starts_at == began_at:
            yield end
