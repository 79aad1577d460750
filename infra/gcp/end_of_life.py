"""When a host on GCP ends: at a moment that no restart moves, while it still runs.

GCP counts a duration (`max_run_duration`) anew from each start, and a host that was restarted would outlive its lease:
it is told a moment (`termination_time`). It deletes only what runs then: hosts that sleep by the week end before they
fall asleep for the last time. Asks no cloud.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.errors import ConfigError
from infra.config import DeploymentConfig
from infra.config.lifetime import WeeklySchedule
from infra.lease import Lease

BEFORE_SLEEP = timedelta(minutes=5)
"""So long before the last stop a host ends: a stop that came first would keep it, and its disks, for good."""

LATENESS = timedelta(minutes=15)
"""So late GCP may carry out what an instance schedule says."""

POWER_OFF_MARGIN = timedelta(minutes=15)
"""For GCP to delete a host before that powers itself off: what is off is never deleted, and its root disk costs on."""

SHORTEST_LIFE = timedelta(minutes=30)
"""What a host is made for at least: it takes about that long until it serves."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def end_of_life(config: DeploymentConfig, lease: Lease) -> datetime:
    """Return when GCP deletes the hosts."""
    ends_at, weekly = lease.ends_at(config.lifetime.ttl_hours), config.lifetime.weekly
    if weekly is None:
        return ends_at
    asleep_at = _falls_asleep(weekly, lease.began_at, ends_at)
    return ends_at if asleep_at is None else (asleep_at - BEFORE_SLEEP).astimezone(UTC)


def refuse_short_life(config: DeploymentConfig, lease: Lease, now: datetime) -> None:
    """Raise ConfigError for hosts made anew that would end before they are of use, or have ended already."""
    ends_at = end_of_life(config, lease)
    if now <= lease.began_at and ends_at - now < SHORTEST_LIFE:
        what = f"the hosts would end at {ends_at:%Y-%m-%d %H:%M} UTC, before they stop for the last time"
        hint = "write more ttl_hours, so that they are started once more, or begin within the hours"
        raise ConfigError(what, where="lifetime", hint=hint)


def powers_off_at(ends_at: datetime) -> datetime:
    """Return when a host powers itself off that GCP has not deleted."""
    return ends_at + POWER_OFF_MARGIN


def _falls_asleep(weekly: WeeklySchedule, began_at: datetime, ends_at: datetime) -> datetime | None:
    """Return the last stop before `ends_at` when no start follows it in time; None for a host that runs at `ends_at`.

    A host runs from when it was made, whatever the hours.
    """
    stops = [stop for stop in _moments(weekly, weekly.stop, began_at, ends_at) if began_at < stop <= ends_at]
    if not stops:
        return None
    starts = _moments(weekly, weekly.start, began_at, ends_at)
    wakes = any(stops[-1] < start <= ends_at - LATENESS for start in starts)
    return None if wakes else stops[-1]


def _moments(weekly: WeeklySchedule, at: str, began_at: datetime, ends_at: datetime) -> Iterator[datetime]:
    """Yield when it is `at` o'clock on the days of the schedule, in order."""
    zone = ZoneInfo(weekly.time_zone)
    day, last = began_at.astimezone(zone).date(), ends_at.astimezone(zone).date()
    while day <= last:
        if WEEKDAYS[day.weekday()] in weekly.days:
            yield datetime.combine(day, time.fromisoformat(at), zone)
        day += timedelta(days=1)
