"""Prices with the hours they count, and warnings about hosts that run outside their weekly hours."""

from datetime import datetime
from typing import Any

import pytest

from infra.clouds.costs.running_costs import hours_words, known_price, odd_hours, price_words
from infra.clouds.costs.stack_price import stack_price
from infra.config import parse_deployment
from infra.config.models.lifetime import WeeklySchedule
from tests.engine.gcp_stacks import stack_value
from tests.unit.infra.clouds.gcp.made import PLACEMENT

OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "stop": "20:00", "time_zone": "Asia/Seoul"}
NEW_YORK = {"start": "01:00", "stop": "02:30", "time_zone": "America/New_York"}


def config(weekly: dict[str, Any] | None, ttl_hours: float = 2000) -> Any:
    lifetime = {"ttl_hours": ttl_hours} | ({"weekly": weekly} if weekly else {})
    return parse_deployment(stack_value("type: e2-standard-8") | {"lifetime": lifetime}, "a test")


@pytest.mark.parametrize(
    ("weekly", "words"),
    [
        (None, "$0.363 an hour, $265 a month of 730 h"),
        (
            OFFICE,
            "$0.363 an hour while the machines run, $0.019 while they sleep; $104 a month with 261 of 730 h by the"
            " weekly hours (mon-fri 08:00-20:00 Asia/Seoul)",
        ),
    ],
    ids=["always on", "weekly hours"],
)
def test_a_price_names_the_hours_it_counts(weekly: Any, words: str) -> None:
    """With a schedule, the price of 261 hours was once called `a month of 730 h`."""
    asked = config(weekly)
    price = stack_price(asked)
    assert price is not None
    assert price_words(asked, price) == words
    assert list(known_price(asked)) == [f"price: {words}"]


@pytest.mark.parametrize(
    ("days", "words"), [(("sun", "mon"), "mon,sun"), (("fri", "thu", "wed"), "wed-fri"), (("tue",), "tue")]
)
def test_days_are_printed_in_the_order_of_the_week(days: Any, words: str) -> None:
    weekly = WeeklySchedule(days=days, start="08:00", stop="20:00", time_zone="Asia/Seoul")
    assert hours_words(weekly) == f"{words} 08:00-20:00 Asia/Seoul"


@pytest.mark.parametrize(
    ("now", "warning"),
    [
        # 2026-11-20 is a Friday.
        ("2026-11-20T19:59+09:00", None),
        ("2026-11-20T21:00+09:00", "until Mon 2026-11-23 20:00 KST, 71 h, about $24 for the machines; run `up` from "
         "Mon 2026-11-23 08:00 KST on"),
        ("2026-11-23T07:00+09:00", "until Mon 2026-11-23 20:00 KST, 13 h, about $4 for the machines; run `up` from "
         "Mon 2026-11-23 08:00 KST on"),
    ],
    ids=["within the hours", "before a weekend", "in the morning"],
)  # fmt: skip
def test_warns_that_a_host_created_outside_its_hours_runs_until_the_next_stop(now: str, warning: str | None) -> None:
    """An `up` on Friday night once created a host that ran all weekend, without a warning."""
    lines = list(odd_hours(config(OFFICE), None, datetime.fromisoformat(now)))

    assert len(lines) == (warning is not None)
    assert all(warning and warning in line for line in lines)


def test_a_host_outside_its_hours_runs_at_most_until_its_end_of_life() -> None:
    (line,) = odd_hours(config(OFFICE, ttl_hours=10), None, datetime.fromisoformat("2026-11-20T21:00+09:00"))
    assert "until Sat 2026-11-21 07:00 KST, 10 h" in line

    old = PLACEMENT.model_copy(update={"began_at": datetime.fromisoformat("2026-11-01T00:00+09:00")})
    (line,) = odd_hours(config(OFFICE, ttl_hours=10), old, datetime.fromisoformat("2026-11-20T21:00+09:00"))
    assert "10 h" in line, "its end of life has passed, so a new lifetime begins"


def test_warns_about_a_stop_at_a_time_that_the_clocks_skip() -> None:
    lines = list(odd_hours(config(NEW_YORK), None, datetime.fromisoformat("2026-03-01T01:30-05:00")))
    assert lines == ["on 2026-03-08 the clocks of America/New_York skip 02:30: the schedule may skip that stop"]


def test_without_weekly_hours_there_is_no_warning() -> None:
    assert list(odd_hours(config(None), None, datetime.fromisoformat("2026-11-20T21:00+09:00"))) == []
