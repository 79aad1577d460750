"""Counters of the service and amounts of the ledger, as text for Prometheus."""

import threading
from collections.abc import Iterator

from services.overflow.ledger import Ledger
from services.overflow.money import NANO
from services.overflow.settings import Cap, Settings

COUNTERS = {
    "llm_overflow_requests_total": "Requests to providers by outcome.",
    "llm_overflow_failed_total": "Tries that a provider did not answer, or broke off, by cause.",
    "llm_overflow_rejected_total": "Requests that no provider may get, by reason.",
    "llm_overflow_unsettled_total": "Answers without usage, whose reservation stays.",
    "llm_overflow_bound_exceeded_total": "Answers that cost more than their reservation.",
    "llm_overflow_ledger_errors_total": "Reads and writes of the ledger that failed.",
}
"""Names and help texts."""

ALL = "all"
"""The label `provider` of the amounts of all providers together."""


class Metrics:
    """Counters since the start, and the ledger's amounts at the time of asking."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        for provider in settings.providers:  # from 0 on: Prometheus sees no increase in a series that begins at 64
            for outcome in ("failed", "served"):
                self._counts["llm_overflow_requests_total", (("outcome", outcome), ("provider", provider.name))] = 0
        self._in_row = {provider.name: 0 for provider in settings.providers}

    def count(self, name: str, **labels: str) -> None:
        """Add one to a counter."""
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def failed(self, provider: str, cause: str) -> None:
        """Add one to the failed tries of a provider."""
        self.count("llm_overflow_failed_total", provider=provider, cause=cause)
        with self._lock:
            self._in_row[provider] += 1

    def worked(self, provider: str) -> None:
        """Begin to count the failed tries of a provider in a row again."""
        with self._lock:
            self._in_row[provider] = 0

    def text(self) -> str:
        """Return all metrics. Raises sqlite3.Error if the ledger cannot be read."""
        return "\n".join([*self._counters(), *self._amounts()]) + "\n"

    def cap_left(self) -> bool:
        """Return whether any provider may spend anything. Raises sqlite3.Error."""
        if _reached(self._settings.cap, self._ledger, None):
            return False
        return any(not _reached(each.cap, self._ledger, each.name) for each in self._settings.providers)

    def _counters(self) -> Iterator[str]:
        with self._lock:
            counts, in_row = sorted(self._counts.items()), sorted(self._in_row.items())
        for name, about in COUNTERS.items():
            yield f"# HELP {name} {about}"
            yield f"# TYPE {name} counter"
            for (counter, labels), value in counts:
                if counter == name:
                    yield f"{name}{_labels(dict(labels))} {value}"
        yield "# TYPE llm_overflow_failed_in_row gauge"
        for provider, value in in_row:
            yield f"llm_overflow_failed_in_row{_labels({'provider': provider})} {value}"

    def _amounts(self) -> Iterator[str]:
        amounts: dict[str, list[str]] = {
            "llm_overflow_spent_usd": [],
            "llm_overflow_unsettled_usd": [],
            "llm_overflow_cap_usd": [],
            "llm_overflow_spent_ratio": [],
        }
        caps = [
            (ALL, None, self._settings.cap),
            *((each.name, each.name, each.cap) for each in self._settings.providers),
        ]
        for shown, name, cap in caps:
            for period, spent, most in zip(
                ("day", "month"), self._ledger.spent(name), (cap.day, cap.month), strict=True
            ):
                labels = _labels({"provider": shown, "period": period})
                amounts["llm_overflow_spent_usd"].append(f"{labels} {spent.spent / NANO:.9f}")
                amounts["llm_overflow_unsettled_usd"].append(f"{labels} {spent.unsettled / NANO:.9f}")
                amounts["llm_overflow_cap_usd"].append(f"{labels} {most / NANO:.9f}")
                amounts["llm_overflow_spent_ratio"].append(f"{labels} {spent.spent / most if most else 1:.6f}")
        for metric, lines in amounts.items():
            yield f"# TYPE {metric} gauge"
            yield from (f"{metric}{line}" for line in lines)
        yield "# TYPE llm_overflow_alert_ratio gauge"
        yield f"llm_overflow_alert_ratio {self._settings.alert_percent / 100:g}"


def _reached(cap: Cap, ledger: Ledger, provider: str | None) -> bool:
    day, month = ledger.spent(provider)
    return day.spent >= cap.day or month.spent >= cap.month


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
