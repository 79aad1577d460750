"""The cost of a stack with its weekly hours, and warnings about hosts that run outside these hours.

A weekly schedule acts at its starts and stops only. A host that is made between a stop and the next start runs until
the next stop, which may be after a weekend.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.clouds import RENTED
from catalog.prices import HOURS_PER_MONTH
from infra.clouds.costs import weekly_hours
from infra.clouds.costs.stack_price import NO_PRICES, StackPrice, stack_price
from infra.config import DeploymentConfig
from infra.config.models.lifetime import WeeklySchedule
from infra.contract.stack_placement import Placement

SECONDS_PER_HOUR = 3600


def price_words(config: DeploymentConfig, price: StackPrice) -> str:
    """Return the price by the hour and by the month, with the hours that the month counts."""
    weekly, least, rest = config.lifetime.weekly, "", ""
    if price.not_priced:
        least, rest = "at least ", f"; not counted, as our table has no price for it: {', '.join(price.not_priced)}"
    if weekly is None:
        sums = f"${price.per_hour:.3f} an hour, ${price.per_month:.0f} a month of {HOURS_PER_MONTH} h"
        return f"{least}{sums}{rest}"
    asleep = price.per_hour - price.machines_per_hour
    return (
        f"{least}${price.per_hour:.3f} an hour while the machines run, ${asleep:.3f} while they sleep;"
        f" ${price.per_month:.0f} a month with {price.running_hours_per_month:.0f} of {HOURS_PER_MONTH} h"
        f" by the weekly hours ({hours_words(weekly)}){rest}"
    )


def cost_record(config: DeploymentConfig, spot_usd_per_hour: Mapping[str, float] = NO_PRICES) -> dict[str, Any]:
    """Return the cost for a result file, in USD; None if no table has the machine's price."""
    price = stack_price(config, spot_usd_per_hour)
    if price is None:
        return {"usd_per_hour": None, "usd_per_month": None, "not_priced": [str(config.machine.type)]}
    sums = {"usd_per_hour": round(price.per_hour, 4), "usd_per_month": round(price.per_month, 2)}
    return {**sums, "not_priced": list(price.not_priced)}


def hours_words(weekly: WeeklySchedule) -> str:
    """Return a schedule in words, e.g. `mon-fri 08:00-20:00 Asia/Seoul`."""
    order = weekly_hours.WEEKDAYS
    places = sorted(order.index(day) for day in weekly.days)
    in_a_row = len(places) > 2 and places == list(range(places[0], places[-1] + 1))  # noqa: PLR2004
    days = f"{order[places[0]]}-{order[places[-1]]}" if in_a_row else ",".join(order[place] for place in places)
    return f"{days} {weekly.start}-{weekly.stop} {weekly.time_zone}"


def known_price(config: DeploymentConfig, spot_usd_per_hour: Mapping[str, float] = NO_PRICES) -> Iterator[str]:
    """Yield a line with the price of a stack, if the tables have it."""
    price = stack_price(config, spot_usd_per_hour) if config.cloud in RENTED else None
    if price is not None:
        yield f"price: {price_words(config, price)}"


def odd_hours(config: DeploymentConfig, placement: Placement | None, now: datetime) -> Iterator[str]:
    """Yield warnings about the weekly hours before `up`: hosts that run for long, and actions that may be skipped.

    `placement`: that of an existing stack.
    """
    weekly = config.lifetime.weekly
    if weekly is None:
        return
    ttl_hours = config.lifetime.ttl_hours
    ends_at = placement.ends_at(ttl_hours) if placement is not None else now
    if ends_at <= now:  # a new lifetime begins
        ends_at = now + timedelta(hours=ttl_hours)
    if not weekly_hours.runs_at(weekly, now):
        yield _runs_on(config, weekly, ends_at, now)
    for day, at in weekly_hours.skipped(weekly, now, ends_at):
        what = "start" if at == weekly.start else "stop"
        yield f"on {day} the clocks of {weekly.time_zone} skip {at}: the schedule may skip that {what}"


def _runs_on(config: DeploymentConfig, weekly: WeeklySchedule, ends_at: datetime, now: datetime) -> str:
    """Return how long a host runs if it is made outside the hours, and what that costs."""
    start = weekly_hours.next_start(weekly, now)
    until = min(weekly_hours.next_stop(weekly, now), ends_at.astimezone(start.tzinfo))
    hours = (until.astimezone(UTC) - now).total_seconds() / SECONDS_PER_HOUR  # in UTC: clocks may change in between
    price = stack_price(config)
    cost = "" if price is None else f", about ${price.machines_per_hour * hours:.0f} for the machines"
    return (
        f"it is outside the weekly hours ({hours_words(weekly)}): a host that `up` makes now runs until"
        f" {_shown(until)}, {hours:.0f} h{cost}; run `up` from {_shown(start)} on, or stop the host by hand. A host"
        " that the schedule has stopped stays stopped until then"
    )


def _shown(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M %Z}"
