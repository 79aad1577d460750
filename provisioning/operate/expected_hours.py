"""Whether a host that does not answer should be running, by the weekly hours of its stack file. Queries no cloud."""

from datetime import datetime

from core.errors import DeployError
from infra.clouds.costs.weekly_hours import next_start, runs_at
from infra.config import load_stack
from infra.config.models.lifetime import WeeklySchedule


def by_the_hours(stack: str, now: datetime) -> str:
    """Return a sentence about a host that does not answer, from its stack's weekly hours; empty without such hours."""
    try:
        weekly = load_stack(stack).lifetime.weekly
    except DeployError:
        return ""  # a wrong or missing file says nothing about its hosts
    return "" if weekly is None else _words(weekly, stack, now)


def _words(weekly: WeeklySchedule, stack: str, now: datetime) -> str:
    if not runs_at(weekly, now):
        start = f"{next_start(weekly, now):%a %Y-%m-%d %H:%M %Z}"
        return f"it is stopped outside its weekly hours; the schedule starts it at {start}"
    since = f"{weekly.start} {weekly.time_zone}"
    return (
        f"its weekly hours began at {since}; the scheduled start may have found no capacity:"
        f" `make up STACK={stack}` starts it"
    )
