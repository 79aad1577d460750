"""Prices of tokens: which row counts, and what has none."""

from datetime import date

import pytest

from catalog import prices
from catalog.prices import token_usd
from catalog.tables import rows


@pytest.fixture
def two_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(as_of: str, usd: str) -> dict[str, str]:
        columns = ("input_usd", "cached_input_usd", "output_usd")
        return {
            "provider": "p",
            "model": "m",
            "as_of": as_of,
            "up_to_input_tokens": "100",
            **dict.fromkeys(columns, usd),
        }

    monkeypatch.setattr(prices, "rows", lambda _: [row("2026-06-01", "3"), row("2026-01-01", "1")])
    monkeypatch.setattr(prices, "_tokens", prices._tokens.__wrapped__)


@pytest.mark.usefixtures("two_prices")
@pytest.mark.parametrize(
    ("model", "on", "tokens", "usd"),
    [
        ("m", None, (100, 0, 100), 600e-6),
        ("m", date(2026, 5, 31), (100, 0, 100), 200e-6),
        ("m", date(2026, 6, 1), (100, 0, 100), 600e-6),
        ("m", date(2025, 12, 31), (100, 0, 100), None),
        ("m", None, (101, 0, 100), None),
        ("m", None, (0, 0, 0), 0),
        ("other", None, (1, 0, 1), None),
    ],
)
def test_the_price_of_that_day(model: str, on: date | None, tokens: tuple[int, int, int], usd: float | None) -> None:
    found = token_usd("p", model, *tokens, on=on)
    assert found == (None if usd is None else pytest.approx(usd))


def test_each_price_of_tokens_has_a_source_a_date_and_sense() -> None:
    for row in rows("token_prices.csv"):
        assert row["source"]
        assert date.fromisoformat(row["as_of"])
        assert 0 < float(row["cached_input_usd"]) < float(row["input_usd"]) < float(row["output_usd"]), row["model"]
    keys = [(row["provider"], row["model"], row["as_of"]) for row in rows("token_prices.csv")]
    assert len(keys) == len(set(keys))
