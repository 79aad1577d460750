"""The ledger's caps, limits and durability."""

import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from services.overflow.ledger import (
    SCHEMA,
    SCHEMA_VERSION,
    CannotReserveError,
    Ledger,
    Worst,
    seconds_to_next_day,
    seconds_to_next_month,
)
from services.overflow.settings import Cap
from tests.overflows import RICH, provider_at, spent_in

NOON = 1_796_040_000.0
"""2026-11-30 12:00 UTC."""
DAY_S = 86_400
STRIDE = 29
"""Instructions of SQLite from one kill to the next, so that the test takes seconds."""
FIRST = provider_at(1, "first")
SECOND = provider_at(2, "second")


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(str(tmp_path / "ledger"), clock)


def reserve(ledger: Ledger, nano: int, cap: Cap = RICH, own: Cap = RICH, tokens: int = 1) -> int:
    return ledger.reserve(replace(FIRST, cap=own), cap, "app", "tiny", Worst(tokens, nano))


@pytest.mark.parametrize(
    ("cap", "own", "reason"),
    [
        pytest.param(Cap(100, 1000), RICH, "day_cap", id="day, all providers"),
        pytest.param(RICH, Cap(100, 1000), "day_cap", id="day, one provider"),
        pytest.param(Cap(1000, 100), RICH, "month_cap", id="month, all providers"),
        pytest.param(RICH, Cap(1000, 100), "month_cap", id="month, one provider"),
    ],
)
def test_spends_a_cap_to_the_last_nano_and_no_further(ledger: Ledger, cap: Cap, own: Cap, reason: str) -> None:
    reserve(ledger, 60, cap, own)
    reserve(ledger, 40, cap, own)
    with pytest.raises(CannotReserveError) as refused:
        reserve(ledger, 1, cap, own)
    assert refused.value.reason == reason


def test_another_providers_spending_counts_in_the_common_cap_alone(ledger: Ledger) -> None:
    ledger.reserve(SECOND, RICH, "app", "tiny", Worst(1, 60))
    reserve(ledger, 60, own=Cap(100, 100))
    with pytest.raises(CannotReserveError):
        reserve(ledger, 60, Cap(150, 150))


def test_a_long_record_makes_no_reservation_slower(tmp_path: Path, clock: Clock) -> None:
    """Each reservation once looked at all charges of its provider."""

    def steps(ledger: Ledger) -> int:
        found: list[int] = []
        ledger._db.set_progress_handler(lambda: found.append(1), 10)
        reserve(ledger, 1)
        ledger._db.set_progress_handler(None, 0)
        return len(found)

    with closing(sqlite3.connect(tmp_path / "ledger")) as db:  # as an earlier release left it
        db.executescript(f"{SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
        row = ("first", "app", "tiny", int((NOON - DAY_S) * 1000), "2026-11-29", 1, 2, 1)
        names = "provider, client, model, at_ms, day, reserved_tokens, reserved, settled"
        db.executemany(f"INSERT INTO charges ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row] * 1000)  # noqa: S608
        db.commit()
    long = steps(Ledger(str(tmp_path / "ledger"), clock))
    assert long < 2 * steps(Ledger(str(tmp_path / "another"), clock))


def test_a_settlement_frees_the_difference_and_counts_once(ledger: Ledger) -> None:
    cap = Cap(100, 100)
    key = reserve(ledger, 100, cap)
    assert not ledger.settle(key, 30, 5, 6)
    assert not ledger.settle(key, 0, 0, 0)
    assert [each.spent for each in ledger.spent()] == [30, 30]
    assert [each.unsettled for each in ledger.spent("first")] == [0, 0]
    reserve(ledger, 70, cap)
    with pytest.raises(CannotReserveError):
        reserve(ledger, 1, cap)


def test_a_day_ends_at_midnight_utc_and_a_month_with_it(ledger: Ledger, clock: Clock) -> None:
    day, month = Cap(100, 1000), Cap(1000, 100)
    reserve(ledger, 100)
    clock.now = NOON + DAY_S / 2 - 1
    for cap in (day, month):
        with pytest.raises(CannotReserveError) as refused:
            reserve(ledger, 100, cap)
        assert refused.value.retry_s == 1
    clock.now += 1  # December
    assert [each.spent for each in ledger.spent()] == [0, 0]
    reserve(ledger, 100, day)
    clock.now += DAY_S
    assert [each.spent for each in ledger.spent()] == [0, 100]
    reserve(ledger, 100, day)
    with pytest.raises(CannotReserveError) as refused:
        reserve(ledger, 1, month)
    assert refused.value.retry_s == 30 * DAY_S


@pytest.mark.parametrize(
    ("now", "day_s", "month_s"), [(NOON, DAY_S // 2, DAY_S // 2), (NOON + DAY_S, DAY_S // 2, 30.5 * DAY_S)]
)
def test_time_to_the_next_day_and_month(now: float, day_s: int, month_s: float) -> None:
    assert (seconds_to_next_day(now), seconds_to_next_month(now)) == (day_s, month_s)


def test_a_late_settlement_counts_in_the_day_of_its_reservation(ledger: Ledger, clock: Clock) -> None:
    key = reserve(ledger, 100)
    clock.now += DAY_S
    ledger.settle(key, 40, 1, 1)
    assert [each.spent for each in ledger.spent()] == [0, 0]
    clock.now -= DAY_S
    assert [each.spent for each in ledger.spent()] == [40, 40]


def test_limits_of_a_minute(ledger: Ledger, clock: Clock) -> None:
    slow = replace(FIRST, requests_per_minute=2, tokens_per_minute=100)

    def ask(tokens: int) -> int:
        return ledger.reserve(slow, RICH, "app", "tiny", Worst(tokens, 1))

    def reason(tokens: int) -> str:
        with pytest.raises(CannotReserveError) as refused:
            ask(tokens)
        return refused.value.reason

    key = ask(90)
    assert reason(11) == "tokens_per_minute"
    ledger.settle(key, 1, 10, 10)  # tokens that were used count, not those reserved
    ask(80)
    assert reason(0) == "requests_per_minute"
    clock.now += 60.001
    ask(100)


def test_a_provider_that_broke_the_bound_gets_nothing_more_that_day(ledger: Ledger, clock: Clock) -> None:
    assert ledger.settle(reserve(ledger, 10), 11, 1, 1)
    with pytest.raises(CannotReserveError) as refused:
        reserve(ledger, 1)
    assert refused.value.reason == "bound_exceeded"
    ledger.reserve(SECOND, RICH, "app", "tiny", Worst(1, 1))
    clock.now += DAY_S
    reserve(ledger, 1)


def test_threads_share_a_cap_to_the_nano(tmp_path: Path) -> None:
    """Two processes' worth of connections, as after a restart in which the old process still answers."""
    ledgers = [Ledger(str(tmp_path / "ledger")) for _ in range(2)]

    def one(index: int) -> bool:
        with suppress(CannotReserveError):
            return bool(reserve(ledgers[index % 2], 10, Cap(155, 1000)))
        return False

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(one, range(60))) == 15
    assert spent_in(str(tmp_path / "ledger")) == 150


def test_keeps_totals_when_old_charges_go(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger(path, clock)
    reserve(ledger, 5)
    ledger.close()
    clock.now += 90 * DAY_S
    Ledger(path, clock).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT COUNT(*) FROM charges").fetchone() == (0,)
        assert db.execute("SELECT SUM(spent) FROM totals").fetchone() == (5,)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"no ledger" * 100), lambda path: _version(path, 9)])
def test_refuses_a_ledger_that_it_cannot_read(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """A new ledger in its place would forget what was spent."""
    path = tmp_path / "ledger"
    Ledger(str(path)).close()
    spoil(path)
    with pytest.raises(sqlite3.DatabaseError):
        Ledger(str(path))


def _version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")


def test_each_charge_is_on_the_disk_before_it_counts(ledger: Ledger) -> None:
    """No test can cut the power; SQLite promises it for these two settings."""
    assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a process of its own; return how it ended: 0, 1 for an error, or minus its signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_survives_a_kill_within_each_step_of_sqlite(tmp_path: Path) -> None:
    """A reservation whose id came back is there; no other half-written one is; the next process continues."""
    path = str(tmp_path / "ledger")
    Ledger(path).close()
    returned = tmp_path / "returned"
    kills = 0
    for steps in range(0, 10_000, STRIDE):
        before = spent_in(path)

        def work(steps: int = steps) -> None:
            ledger, left = Ledger(path), steps

            def step() -> int:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return 0

            ledger._db.set_progress_handler(step, 1)
            key = reserve(ledger, 10)
            returned.touch()
            ledger.settle(key, 4, 1, 1)

        returned.unlink(missing_ok=True)
        ended = in_child(work)
        if ended == 0:
            assert spent_in(path) == before + 4
            break
        assert ended == -signal.SIGKILL
        kills += 1
        assert spent_in(path) - before in ((10, 4) if returned.exists() else (0, 10))
    assert kills > 8


@pytest.mark.parametrize("dies", [True, False], ids=["killed in the write", "no space"])
def test_survives_a_write_that_fails_at_any_byte(tmp_path: Path, dies: bool) -> None:
    """A limit on the size of files ends a write in the middle, as a kill or a full disk does."""
    path = str(tmp_path / "ledger")
    Ledger(path).close()
    for size in range(0, 40_000, 512):
        before = spent_in(path)

        def work(size: int = size) -> None:
            # Opened before the limit: the index of the WAL has its size from the start.
            ledger = Ledger(path)
            ledger.spent()
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            try:
                reserve(ledger, 10)
            except sqlite3.Error:
                os._exit(2)

        ended = in_child(work)
        assert ended in ((0, -signal.SIGXFSZ, -signal.SIGBUS) if dies else (0, 2, -signal.SIGBUS))
        assert spent_in(path) == before + (10 if ended == 0 else 0)
        if ended == 0:
            break
    assert size > 0
    assert ended == 0
