"""When GCP deletes a host: at the end of its lifetime, or before its last stop; never while it is stopped."""

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import ConfigError
from infra.clouds.candidates import identity_and_beginning
from infra.clouds.gcp.placing.end_of_life import end_of_life, powers_off_at, refuse_short_life
from infra.config import parse_deployment
from infra.contract.stack_placement import KnownPlacement
from tests.engine.gcp_stacks import stack_value
from tests.unit.infra.clouds.gcp.made import PLACEMENT

OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "stop": "20:00", "time_zone": "Asia/Seoul"}
BERLIN = {"days": ["sat", "sun"], "start": "01:00", "stop": "04:00", "time_zone": "Europe/Berlin"}
"""Its clocks went back on 2026-10-25."""


def config(ttl_hours: float, weekly: dict[str, Any] | None) -> Any:
    value = stack_value()
    value["lifetime"] = {"ttl_hours": ttl_hours} | ({"weekly": weekly} if weekly else {})
    return parse_deployment(value, "a test")


def placement(began_at: str) -> KnownPlacement:
    return PLACEMENT.model_copy(update={"began_at": datetime.fromisoformat(began_at)})


@pytest.mark.parametrize(
    ("weekly", "began_at", "ttl_hours", "ends_at"),
    [
        # 2026-11-16 is a Monday; Seoul is nine hours ahead of UTC.
        pytest.param(None, "2026-11-16T10:00+09:00", 8, "2026-11-16T18:00+09:00", id="always on"),
        pytest.param(OFFICE, "2026-11-16T10:00+09:00", 8, "2026-11-16T18:00+09:00", id="before it stops"),
        pytest.param(OFFICE, "2026-11-16T10:00+09:00", 10, "2026-11-16T19:55+09:00", id="as it stops"),
        pytest.param(OFFICE, "2026-11-16T10:00+09:00", 14, "2026-11-16T19:55+09:00", id="while stopped"),
        pytest.param(OFFICE, "2026-11-16T10:00+09:00", 22.1, "2026-11-16T19:55+09:00", id="as it starts"),
        pytest.param(OFFICE, "2026-11-16T10:00+09:00", 22.25, "2026-11-17T08:15+09:00", id="after its start"),
        pytest.param(OFFICE, "2026-11-16T10:00+09:00", 24 * 5, "2026-11-20T19:55+09:00", id="on a free day"),
        pytest.param(OFFICE, "2026-11-21T10:00+09:00", 8, "2026-11-21T18:00+09:00", id="made on a free day"),
        pytest.param(OFFICE, "2026-11-16T21:00+09:00", 4, "2026-11-17T01:00+09:00", id="made at night"),
        pytest.param(BERLIN, "2026-10-24T12:00+02:00", 24, "2026-10-25T03:55+01:00", id="the clocks change"),
    ],
)
def test_a_host_ends_while_it_runs(weekly: Any, began_at: str, ttl_hours: float, ends_at: str) -> None:
    end = end_of_life(config(ttl_hours, weekly), placement(began_at))

    assert end == datetime.fromisoformat(ends_at)
    assert end.tzinfo is UTC
    assert powers_off_at(end) > end, "what is off is never deleted"


@pytest.mark.parametrize(
    ("begun", "refused"),
    [
        pytest.param("2026-11-20T19:20+09:00", False, id="35 minutes before"),
        pytest.param("2026-11-20T19:40+09:00", True, id="15 minutes before"),
        pytest.param("2026-11-20T19:57+09:00", True, id="its last stop comes before its end"),
        pytest.param("2026-11-20T21:00+09:00", False, id="runs through the night"),
    ],
)
def test_no_host_is_made_shortly_before_its_last_stop(begun: str, refused: bool) -> None:
    """It ended while it was provisioned, or was never deleted: GCP deletes only running hosts."""
    reported = (
        r"lifetime: GCP would delete the hosts at 2026-11-20 10:55 UTC, shortly before their last weekly stop; raise"
    )
    with pytest.raises(ConfigError, match=reported) if refused else nullcontext():
        refuse_short_life(config(24, OFFICE), placement(begun), datetime.fromisoformat(begun))


def test_an_existing_host_may_be_changed_until_its_end() -> None:
    refuse_short_life(
        config(8, None), placement("2026-11-16T10:00+09:00"), datetime.fromisoformat("2026-11-16T17:50+09:00")
    )


def test_a_restart_does_not_move_the_end() -> None:
    """Another type is another candidate in the same lifetime: GCP starts the host again with the same end."""
    before = placement("2026-11-16T10:00+09:00")

    after = before.model_copy(update={"machine_type": "e2-standard-16"})

    assert end_of_life(config(8, None), after) == end_of_life(config(8, None), before)


def test_after_the_last_stop_a_new_lifetime_begins() -> None:
    """Until `ttl_hours` are over the host no longer exists, and GCP refuses an end in the past."""
    now = datetime.fromisoformat("2026-11-21T01:00+09:00")

    begins = [
        identity_and_beginning(config(24 * 5, OFFICE), placement("2026-11-16T10:00+09:00"), now, end_of_life),
        identity_and_beginning(config(24 * 9, OFFICE), placement("2026-11-16T10:00+09:00"), now, end_of_life),
    ]

    assert [began_at == now for _id, began_at in begins] == [True, False]
