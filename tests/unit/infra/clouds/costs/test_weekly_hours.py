"""Weekly hours on nights when the clocks change: what a schedule may do and when a host must end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from infra.clouds.costs import weekly_hours
from infra.clouds.gcp.placing.end_of_life import BEFORE_SLEEP, LATENESS, end_of_life
from infra.config.models.lifetime import LifetimeSpec, WeeklySchedule
from infra.contract.stack_placement import Placement
from tests.unit.infra.clouds.gcp.made import PLACEMENT
from tests.unit.infra.clouds.gcp.test_end_of_life import config

Clock = dict[str, dict[str, list[datetime]]]

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

ZONES = {
    "America/New_York": 2026,
    "America/St_Johns": 2010,  # at one minute past midnight
    "America/Havana": 2026,  # at midnight
    "America/Santiago": 2026,  # southern, at midnight
    "America/Sao_Paulo": 2018,
    "America/Caracas": 2016,  # moved by half an hour for good
    "Europe/London": 2026,
    "Europe/Dublin": 2026,  # its winter is the exception
    "Europe/Istanbul": 2016,  # stayed in summer
    "Africa/Casablanca": 2026,  # back for Ramadan
    "Africa/Cairo": 2026,
    "Asia/Beirut": 2026,
    "Asia/Pyongyang": 2018,  # moved by half an hour for good
    "Australia/Lord_Howe": 2026,  # by half an hour
    "Pacific/Chatham": 2026,  # a quarter past
    "Pacific/Apia": 2011,  # had no 30 December
    "Antarctica/Troll": 2026,  # by two hours
}
"""A year with a clock change, by time zone."""


def changes(zone: str) -> Iterator[datetime]:
    """Yield the clock changes of a time zone in its year, to the hour, in UTC."""
    local, hour = ZoneInfo(zone), timedelta(hours=1)
    day = datetime(ZONES[zone], 1, 1, tzinfo=UTC)
    while day.year == ZONES[zone]:
        hours = [day + count * hour for count in range(25)]
        shifts = [each.astimezone(local).utcoffset() for each in hours]
        if shifts[0] != shifts[-1]:
            yield next(each for each, now, then in zip(hours, shifts, shifts[1:], strict=False) if now != then)
        day += DAY


@cache
def clock(zone: str, first: datetime, days: int) -> Clock:
    """Return the moments in UTC, minute by minute, by local time of day and then by local date."""
    shown: Clock = {}
    local = ZoneInfo(zone)
    for count in range(days * 24 * 60):
        moment = first + count * MINUTE
        date, _, at = moment.astimezone(local).isoformat()[:16].partition("T")
        shown.setdefault(at, {}).setdefault(date, []).append(moment)
    return shown


def times_near(zone: str, change: datetime) -> list[str]:
    """Return times of day around the ones that a clock change repeats or skips."""
    local = ZoneInfo(zone)
    readings = [(change + timedelta(minutes=each)).astimezone(local) for each in (-70, 3, 28, 62, 92)]
    return sorted(
        {f"{each:%H:%M}" for each in readings} | {f"{each - timedelta(minutes=45):%H:%M}" for each in readings}
    )


def schedules(zone: str, change: datetime) -> Iterator[WeeklySchedule]:
    """Yield schedules whose stop or start is near a clock change."""
    for at in times_near(zone, change):
        for start, stop in (("00:00", at), (at, "23:30"), (max("00:00", f"0{int(at[:2]) % 3}:10"), at)):
            if start < stop:
                yield WeeklySchedule(start=start, stop=stop, time_zone=zone)


def placement_of(began_at: datetime) -> Placement:
    return PLACEMENT.model_copy(update={"began_at": began_at})


def is_awake(shown: Clock, spec: WeeklySchedule, placement: Placement, at: datetime) -> bool:
    """Return whether a host runs at a moment, whichever of a repeated time a cloud uses: all, first or last.

    A cloud may also ignore a time of day that the clocks skip, or read it as the first minute after.
    """
    for pick in (slice(None), slice(0, 1), slice(-1, None)):
        events = [(moment, True) for moment in _moments(shown, spec.start, pick)]
        events += [(moment, False) for moment in _moments(shown, spec.stop, pick)]
        seen = [(moment, starts) for moment, starts in events if placement.began_at < moment <= at]
        if seen:
            last, starts = max(seen)
            if not starts or at - last < LATENESS:
                return False
        if any(not starts and at < moment < at + BEFORE_SLEEP for moment, starts in events):
            return False
    return True


def _moments(shown: Clock, at: str, pick: slice) -> list[datetime]:
    return [moment for found in shown.get(at, {}).values() for moment in found[pick]]


@pytest.mark.parametrize("zone", ZONES)
def test_a_host_runs_at_its_end_of_life_on_every_night_of_a_clock_change(zone: str) -> None:
    """In New York a stop at 03:02 once came an hour before the end of life; GCP never deletes a stopped host."""
    tried, base = 0, config(24, None)
    for change in changes(zone):
        first = change.replace(hour=0, minute=0) - 2 * DAY
        shown = clock(zone, first, 5)
        placement = placement_of(first + timedelta(hours=9, minutes=1))
        for spec in schedules(zone, change):
            for hours in (44.5, 48.2, 60):
                lifetime = LifetimeSpec(ttl_hours=hours, weekly=spec)
                end = end_of_life(base.model_copy(update={"lifetime": lifetime}), placement)
                assert end <= placement.ends_at(hours)
                first_stop = min(
                    moment for moment in _moments(shown, spec.stop, slice(None)) if moment > placement.began_at
                )
                if end > first_stop:  # before its first stop a new host runs anyway
                    assert is_awake(shown, spec, placement, end), (spec, placement.began_at, hours, end)
                tried += 1
    assert tried


NEW_YORK = WeeklySchedule(start="01:00", stop="03:02", time_zone="America/New_York")


def test_the_end_of_life_comes_before_the_stop_on_that_night() -> None:
    """It was once computed in local time: 02:57, which the clocks skip, was read as 03:57."""
    placement = placement_of(datetime(2026, 3, 7, 15, tzinfo=UTC))

    assert end_of_life(config(24, NEW_YORK.model_dump()), placement) == datetime(2026, 3, 8, 6, 57, tzinfo=UTC)
    # 03:02 summer time is 07:02 UTC


@pytest.mark.parametrize(
    ("now", "runs", "start", "stop"),
    [
        pytest.param("2026-11-20T21:00+09:00", False, "2026-11-23 08:00", "2026-11-23 20:00", id="Friday night"),
        pytest.param("2026-11-20T07:59+09:00", False, "2026-11-20 08:00", "2026-11-20 20:00", id="before it starts"),
        pytest.param("2026-11-20T08:00+09:00", True, "2026-11-23 08:00", "2026-11-20 20:00", id="as it starts"),
        pytest.param("2026-11-20T20:00+09:00", False, "2026-11-23 08:00", "2026-11-23 20:00", id="as it stops"),
    ],
)
def test_next_start_and_stop_of_a_schedule(now: str, runs: bool, start: str, stop: str) -> None:
    office = WeeklySchedule(
        days=("mon", "tue", "wed", "thu", "fri"), start="08:00", stop="20:00", time_zone="Asia/Seoul"
    )
    at = datetime.fromisoformat(now)

    assert weekly_hours.runs_at(office, at) == runs
    assert f"{weekly_hours.next_start(office, at):%Y-%m-%d %H:%M}" == start
    assert f"{weekly_hours.next_stop(office, at):%Y-%m-%d %H:%M}" == stop


def test_finds_the_days_on_which_the_clocks_skip_a_stop() -> None:
    """AWS ignores a stop at a time that the clocks skip: the host then runs until the next stop."""
    spec = WeeklySchedule(start="01:00", stop="02:30", time_zone="America/New_York")
    since = datetime(2026, 3, 1, tzinfo=UTC)

    assert [(f"{day}", at) for day, at in weekly_hours.skipped(spec, since, since + 30 * DAY)] == [
        ("2026-03-08", "02:30")
    ]
    assert weekly_hours.skipped(NEW_YORK, since, since + 30 * DAY) == []
