"""When a weekly schedule starts and stops hosts, as moments in UTC. Calls no cloud.

When clocks change, a time of day may occur twice in a night, or not at all, and the clouds do not document what a
schedule does in every such night. So a moment has an earliest and a latest reading, and may be uncertain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from infra.config.models.lifetime import WeeklySchedule

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

DAY = timedelta(days=1)

LOOK_AHEAD = timedelta(days=15)
"""Every schedule starts and stops within a week; on the night of a clock change, one of them may be skipped."""


@dataclass(frozen=True)
class Moment:
    """A start or a stop."""

    earliest: datetime
    """In UTC."""
    latest: datetime
    """In UTC; later than `earliest` only in a night in which the clocks change."""
    certain: bool
    """False when the clocks skip the time of day: the schedule may then skip it, too."""


def starts(weekly: WeeklySchedule, since: datetime, until: datetime) -> Iterator[Moment]:
    """Yield the starts that may fall between two moments, both included, in order."""
    return _moments(weekly, weekly.start, since, until)


def stops(weekly: WeeklySchedule, since: datetime, until: datetime) -> Iterator[Moment]:
    """Yield the stops that may fall between two moments, both included, in order."""
    return _moments(weekly, weekly.stop, since, until)


def runs_at(weekly: WeeklySchedule, now: datetime) -> bool:
    """Return whether hosts run at `now` by the schedule: from a start to the stop of the same day."""
    local = now.astimezone(ZoneInfo(weekly.time_zone))
    return WEEKDAYS[local.weekday()] in weekly.days and weekly.start <= f"{local:%H:%M}" < weekly.stop


def next_start(weekly: WeeklySchedule, now: datetime) -> datetime:
    """Return the first start after `now` that is certain, at its latest; in the schedule's time zone."""
    return _next(starts(weekly, now, now + LOOK_AHEAD), weekly, now)


def next_stop(weekly: WeeklySchedule, now: datetime) -> datetime:
    """Return the first stop after `now` that is certain, at its latest; in the schedule's time zone."""
    return _next(stops(weekly, now, now + LOOK_AHEAD), weekly, now)


def skipped(weekly: WeeklySchedule, since: datetime, until: datetime) -> list[tuple[date, str]]:
    """Return the days between two moments on which the clocks skip a start or a stop, each with its time of day."""
    zone = ZoneInfo(weekly.time_zone)
    return [
        (day, at)
        for day in _days(weekly, since.astimezone(zone).date(), until.astimezone(zone).date())
        for at in (weekly.start, weekly.stop)
        if not _moment(day, at, zone).certain
    ]


def _next(moments: Iterator[Moment], weekly: WeeklySchedule, now: datetime) -> datetime:
    found = next(each for each in moments if each.certain and each.latest > now)
    return found.latest.astimezone(ZoneInfo(weekly.time_zone))


def _moments(weekly: WeeklySchedule, at: str, since: datetime, until: datetime) -> Iterator[Moment]:
    zone = ZoneInfo(weekly.time_zone)
    # A time of day that the clocks skip may be read as one of the day before or after.
    first, last = since.astimezone(zone).date() - DAY, until.astimezone(zone).date() + DAY
    for day in _days(weekly, first, last):
        moment = _moment(day, at, zone)
        if since <= moment.latest and moment.earliest <= until:
            yield moment


def _days(weekly: WeeklySchedule, first: date, last: date) -> Iterator[date]:
    """Yield the days of a schedule from `first` to `last`, both included."""
    for count in range((last - first).days + 1):
        day = first + count * DAY
        if WEEKDAYS[day.weekday()] in weekly.days:
            yield day


def _moment(day: date, at: str, zone: ZoneInfo) -> Moment:
    """Return when it is `at` o'clock on `day`.

    Never compared or subtracted in local time: within one zone Python uses wall-clock time for both
    (PEP 495), which is an hour wrong across a clock change.
    """
    local = datetime.combine(day, time.fromisoformat(at), zone)
    readings = [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    exists = readings[0].astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)
    return Moment(min(readings), max(readings), certain=exists)
