"""When machines end, when they sleep, and when someone is warned of the bill."""

from pydantic import Field

from core.frozen import Frozen

MAX_TTL_HOURS = 2880
"""120 days: the longest run that GCP's `max_run_duration` takes."""

DEFAULT_TTL_HOURS = 24.0


class WeeklySchedule(Frozen):
    """Machines run between two times of the day, on the days named, and are stopped otherwise."""

    days: tuple[str, ...] = Field(default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    start: str
    stop: str
    time_zone: str


class BudgetSpec(Frozen):
    """A monthly budget with a warning by mail; it warns and stops nothing."""

    usd_per_month: float = Field(gt=0)
    mail: str
    billing_account: str | None = None


class LifetimeSpec(Frozen):
    """Every cloud machine ends itself, even if this checkout and its owner are gone."""

    ttl_hours: float = Field(
        default=DEFAULT_TTL_HOURS, ge=0.5, le=MAX_TTL_HOURS, description="Hours until the machines end themselves."
    )
    weekly: WeeklySchedule | None = Field(default=None, description="Daily start and stop; none: always on.")
    budget: BudgetSpec | None = Field(default=None, description="Warning of the month's bill; none: no warning.")
