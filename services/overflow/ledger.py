"""The ledger: what providers cost, in SQLite, so that the caps hold whatever happens to this process.

A reservation for the worst case is on disk before a request leaves. The real cost replaces it when the provider reports
it. Otherwise it stays: if usage is unknown, if a stream is cut, or if this process dies. Holds no text of requests.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from services.overflow.settings import Cap, Provider

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE charges (
  id INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  day TEXT NOT NULL,
  provider TEXT NOT NULL,
  client TEXT NOT NULL,
  model TEXT NOT NULL,
  reserved_tokens INTEGER NOT NULL CHECK (reserved_tokens >= 0),
  reserved INTEGER NOT NULL CHECK (reserved >= 0),
  settled INTEGER CHECK (settled >= 0),
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX charges_by_time ON charges (provider, at_ms);
CREATE TABLE totals (
  day TEXT NOT NULL,
  provider TEXT NOT NULL,
  client TEXT NOT NULL,
  model TEXT NOT NULL,
  requests INTEGER NOT NULL,
  spent INTEGER NOT NULL,
  unsettled INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  PRIMARY KEY (day, provider, client, model)
) WITHOUT ROWID;
"""
"""`charges`: one row a request; `settled` is empty while the reservation counts. `totals`: their sums, which outlive
them; `spent` counts reservations too, `unsettled` is their part. Amounts in nano-USD, days in UTC."""

ABOVE = "CREATE INDEX IF NOT EXISTS charges_above ON charges (provider, day) WHERE settled > reserved"
"""For `_EXCEEDED`, which each reservation asks: with 200,000 charges it took 290 ms without this. Ledgers of earlier
releases have it from their next start on."""

FAILURES = """
CREATE TABLE IF NOT EXISTS failures (
  day TEXT NOT NULL,
  provider TEXT NOT NULL,
  client TEXT NOT NULL,
  model TEXT NOT NULL,
  failed INTEGER NOT NULL,
  PRIMARY KEY (day, provider, client, model)
) WITHOUT ROWID
"""
"""How many of the requests in `totals` failed. A table of its own: an earlier release can still write to `totals`."""

KEEP_DAYS = 62
"""Charges older than this are deleted at a start; their totals stay."""

MINUTE_MS = 60_000
BUSY_S = 10

_ADD = """
INSERT INTO totals VALUES (:day, :provider, :client, :model, :requests, :spent, :unsettled, :input, :output)
ON CONFLICT DO UPDATE SET requests = requests + :requests, spent = spent + :spent, unsettled = unsettled + :unsettled,
  input_tokens = input_tokens + :input, output_tokens = output_tokens + :output
"""

_FAILED = """
INSERT INTO failures SELECT day, provider, client, model, 1 FROM charges WHERE id = ?
ON CONFLICT DO UPDATE SET failed = failed + 1
"""

_MINUTE = """
SELECT COUNT(*), COALESCE(SUM(CASE WHEN settled IS NULL THEN reserved_tokens ELSE input_tokens + output_tokens END), 0)
FROM charges WHERE provider = ? AND at_ms > ?
"""

_EXCEEDED = "SELECT EXISTS (SELECT 1 FROM charges WHERE provider = ? AND day = ? AND settled > reserved)"


class CannotReserveError(Exception):
    """No reservation was made. `reason` is a word for metrics; the request may be tried again after `retry_s`."""

    def __init__(self, reason: str, retry_s: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_s = retry_s


@dataclass(frozen=True)
class Worst:
    """The worst case of a request: tokens and cost in nano-USD."""

    tokens: int
    nano: int


@dataclass(frozen=True)
class Spent:
    """Spending of one day or month, in nano-USD. `unsettled` is the part of `spent` that is reserved only."""

    spent: int
    unsettled: int


class Ledger:
    """The ledger in one file. Safe to use from several threads, and beside another process."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        """Open the ledger, or make it. Raises sqlite3.Error if it is damaged or of a later release."""
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.strip().split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"the ledger has version {version}, not {SCHEMA_VERSION}")
            self._db.execute(ABOVE)
            self._db.execute(FAILURES)
            oldest = int((clock() - KEEP_DAYS * 86_400) * 1000)
            self._db.execute("DELETE FROM charges WHERE at_ms < ?", (oldest,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def reserve(self, provider: Provider, cap: Cap, client: str, model: str, worst: Worst) -> int:
        """Write a reservation and return its id, if `provider` may spend `worst` now; `cap` is that of all providers.

        One transaction checks and writes. Raises CannotReserveError, or sqlite3.Error if the disk refuses.
        """
        now = self._clock()
        at_ms, day = int(now * 1000), day_of(now)
        with self._transaction():
            self._check(provider, cap, now, worst)
            (key,) = self._db.execute(
                "INSERT INTO charges (at_ms, day, provider, client, model, reserved_tokens, reserved) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (at_ms, day, provider.name, client, model, worst.tokens, worst.nano),
            ).fetchone()
            row = {"day": day, "provider": provider.name, "client": client, "model": model}
            amounts = {"requests": 1, "spent": worst.nano, "unsettled": worst.nano, "input": 0, "output": 0}
            self._db.execute(_ADD, row | amounts)
        return int(key)

    def settle(self, key: int, nano: int, input_tokens: int, output_tokens: int) -> bool:
        """Replace a reservation by the real cost. Return whether the cost is above it, which must not happen."""
        with self._transaction():
            row = self._db.execute(
                "UPDATE charges SET settled = ?, input_tokens = ?, output_tokens = ? WHERE id = ? AND settled IS NULL "
                "RETURNING day, provider, client, model, reserved",
                (nano, input_tokens, output_tokens, key),
            ).fetchone()
            if row is None:  # settled before
                return False
            day, provider, client, model, reserved = row
            names = {"day": day, "provider": provider, "client": client, "model": model, "requests": 0}
            amounts = {"spent": nano - reserved, "unsettled": -reserved, "input": input_tokens, "output": output_tokens}
            self._db.execute(_ADD, names | amounts)
        return bool(nano > reserved)

    def failed(self, key: int) -> None:
        """Count the request of a reservation as one that the provider did not answer. Changes no amount."""
        with self._transaction():
            self._db.execute(_FAILED, (key,))

    def spent(self, provider: str | None = None) -> tuple[Spent, Spent]:
        """Return what `provider`, or all of them, cost today and in this month."""
        with self._lock:
            return self._spent(provider, self._clock())

    def _check(self, provider: Provider, cap: Cap, now: float, worst: Worst) -> None:
        """Raise CannotReserveError if a cap or a limit does not allow `worst`."""
        for limits, name in ((cap, None), (provider.cap, provider.name)):
            day, month = self._spent(name, now)
            if month.spent + worst.nano > limits.month:
                raise CannotReserveError("month_cap", seconds_to_next_month(now))
            if day.spent + worst.nano > limits.day:
                raise CannotReserveError("day_cap", seconds_to_next_day(now))
        (exceeded,) = self._db.execute(_EXCEEDED, (provider.name, day_of(now))).fetchone()
        if exceeded:
            raise CannotReserveError("bound_exceeded", seconds_to_next_day(now))
        requests, tokens = self._db.execute(_MINUTE, (provider.name, int(now * 1000) - MINUTE_MS)).fetchone()
        if requests + 1 > provider.requests_per_minute:
            raise CannotReserveError("requests_per_minute", 60)
        if tokens + worst.tokens > provider.tokens_per_minute:
            raise CannotReserveError("tokens_per_minute", 60)

    def _spent(self, provider: str | None, now: float) -> tuple[Spent, Spent]:
        today = day_of(now)
        select = "SELECT COALESCE(SUM(spent), 0), COALESCE(SUM(unsettled), 0) FROM totals WHERE day BETWEEN ? AND ?"
        only, names = ("", ()) if provider is None else (" AND provider = ?", (provider,))
        day = self._db.execute(select + only, (today, today, *names)).fetchone()
        month = self._db.execute(select + only, (f"{today[:8]}01", f"{today[:8]}31", *names)).fetchone()
        return Spent(*day), Spent(*month)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run the block as one transaction that no other thread or process sees half of."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def day_of(now: float) -> str:
    """Return the UTC day of a time in seconds since 1970."""
    return datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%d")


def seconds_to_next_day(now: float) -> int:
    """Return the seconds until the next UTC day, at least 1."""
    return 86_400 - int(now) % 86_400


def seconds_to_next_month(now: float) -> int:
    """Return the seconds until the next UTC month, at least 1."""
    today = datetime.fromtimestamp(now, timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return max(1, int(first.timestamp() - now))
