"""`make spend`: the ledger of a real service, read as on a host, as a table."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.paths import CHECKOUT
from provisioning.operate.spend import table
from services.overflow.ledger import Ledger, Worst
from serving.spec.gateway_overflow import OverflowSpec
from tests.overflows import RICH, provider_at

NOON = 1_796_040_000.0
DAY_S = 86_400
PROGRAM = CHECKOUT / "provisioning/programs/gateway/spend_report.py"

SPEC = OverflowSpec.model_validate(
    {
        "day_usd": 5,
        "month_usd": 50,
        "providers": [
            {
                "name": "first",
                "kind": "openai",
                "url": "https://api.example.com/v1",
                "key": {"env": "KEY"},
                "models": [{"alias": "tiny", "model": "m", "input_usd": 1, "output_usd": 1}],
                "day_usd": 4,
                "month_usd": 40,
            }
        ],
    }
)


def report(path: Path) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, PROGRAM, path], capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


def test_shows_settled_and_reserved_by_day_provider_and_client(tmp_path: Path) -> None:
    now = NOON
    path = tmp_path / "ledger"
    ledger = Ledger(str(path), lambda: now)
    first = provider_at(1, "first")
    ledger.settle(ledger.reserve(first, RICH, "app", "tiny", Worst(9, 5_000_000_000)), 1_250_000_000, 1000, 2000)
    ledger.failed(ledger.reserve(first, RICH, "app", "contract", Worst(9, 500_000_001)))
    now += DAY_S
    ledger.reserve(provider_at(2, "second"), RICH, "web", "tiny", Worst(9, 1))

    assert table(report(path), SPEC, "2026-11-30") == [
        "day         provider  client  requests  failed  tokens in  tokens out       USD  of it reserved",
        "2026-11-30  first     app            2       1      1,000       2,000  1.750001        0.500001",
        "2026-12-01  second    web            1       0          0           0  0.000001        0.000001",
        "",
        "all: today 1.750001 of 5 USD, this month 1.750001 of 50 USD",
        "first: today 1.750001 of 4 USD, this month 1.750001 of 40 USD",
        "days and months are those of UTC",
    ]


def test_a_host_without_a_ledger_spent_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    assert report(path) == []
    assert list(tmp_path.iterdir()) == []
    assert table([], SPEC, "2026-11-30") == [
        "nothing was sent to a provider",
        "",
        "all: today 0.000000 of 5 USD, this month 0.000000 of 50 USD",
        "first: today 0.000000 of 4 USD, this month 0.000000 of 40 USD",
        "days and months are those of UTC",
    ]


def test_a_ledger_of_an_earlier_release_counts_no_failures(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path), lambda: NOON)
    ledger.reserve(provider_at(1, "first"), RICH, "app", "tiny", Worst(9, 7))
    ledger._db.execute("DROP TABLE failures")
    assert [(row["requests"], row["failed"]) for row in report(path)] == [(1, 0)]


def test_reads_while_the_service_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path), lambda: NOON)
    ledger.reserve(provider_at(1, "first"), RICH, "app", "tiny", Worst(9, 7))
    ledger._db.execute("BEGIN IMMEDIATE")
    assert [row["spent"] for row in report(path)] == [7]
