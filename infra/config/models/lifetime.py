"""When machines are terminated, when they are stopped, and who is warned of the bill."""

from difflib import get_close_matches
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import Problem, matching, refuse, twice

MAX_TTL_HOURS = 2880
"""120 days: the longest run time that GCP accepts as a limit."""

DEFAULT_TTL_HOURS = 24.0

LONGEST_ZONE = 100
"""Characters of a wrong time zone that are compared with the known ones: more than any of them has."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

TimeOfDay = Annotated[
    str, matching(r"([01]\d|2[0-3]):[0-5]\d", "is not a time of day; write hours and minutes from 00:00 to 23:59")
]

Mail = Annotated[str, matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "is not a mail address; write one like team@example.com")]

BillingAccount = Annotated[
    str, matching(r"[0-9A-F]{6}(-[0-9A-F]{6}){2}", "is not a billing account id; write one like 012345-6789AB-CDEF01")
]


def _time_zone(name: str) -> str:
    """Return `name` if it is in the time zone database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a relative path, a folder such as Asia
        near = get_close_matches(name[:LONGEST_ZONE], available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "write a name of the tz database, e.g. Asia/Seoul"
        raise ValueError(f"is not a time zone; {hint}") from None
    return name


class WeeklySchedule(Frozen):
    """Machines run between two times of day on the listed days, and are stopped at all other times."""

    days: tuple[Day, ...] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        min_length=1,
        description="Days on which the machines start.",
    )
    start: TimeOfDay = Field(description='Start time, e.g. "08:00".')
    stop: TimeOfDay = Field(description='Stop time, later on the same day, e.g. "20:00".')
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        description="Time zone of both times, e.g. Asia/Seoul."
    )

    @model_validator(mode="after")
    def _starts_before_it_stops(self) -> Self:
        refuse(twice(self.days, "days"))
        if self.stop <= self.start:
            refuse(
                [Problem("stop", f"{self.stop} is not after start {self.start}", "write a later time of the same day")]
            )
        return self


class BudgetSpec(Frozen):
    """A monthly budget that warns by mail. It stops nothing."""

    usd_per_month: float = Field(gt=0, le=1_000_000, description="Budget per calendar month, in USD.")
    mail: Mail = Field(description="Address that is warned, e.g. team@example.com.")
    billing_account: BillingAccount | None = Field(
        default=None, description="Billing account of a GCP project, like 012345-6789AB-CDEF01."
    )


class LifetimeSpec(Frozen):
    """Every cloud machine is terminated at the end of its lifetime, even if this checkout no longer exists."""

    ttl_hours: float = Field(
        default=DEFAULT_TTL_HOURS,
        ge=0.5,
        le=MAX_TTL_HOURS,
        description="Hours until the machines are terminated.",
    )
    weekly: WeeklySchedule | None = Field(
        default=None, description="Daily start and stop. If missing, the machines run all the time."
    )
    budget: BudgetSpec | None = Field(default=None, description="Warning about the month's bill.")
