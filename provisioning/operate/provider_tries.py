"""How often the providers of overflow were tried and failed, from the metrics of the service. Queries no host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TRIES = ("served", "failed", "cut", "cut_by_the_client")
"""Outcomes of requests that went to the provider; the others never left."""

FAILING = 3
"""Failed tries in a row from which a provider needs attention: one refusal alone is not a fault."""


@dataclass(frozen=True, kw_only=True)
class ProviderTries:
    """The tries of one provider since the service started."""

    name: str
    tries: int
    failed: int
    in_row: int
    """How many of the last ones failed one after the other."""
    causes: tuple[str, ...]
    """Why, the most frequent cause first."""

    @property
    def failing(self) -> bool:
        """Whether the provider does not work now."""
        return self.in_row >= FAILING

    @property
    def words(self) -> str:
        """The sentence for a screen."""
        causes = f": {', '.join(self.causes)}" if self.causes else ""
        row = f"; the last {self.in_row} in a row" if self.failing and self.in_row < self.failed else ""
        return f"{self.failed} of {self.tries} tries failed{causes}{row}"


def read_tries(metrics: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> tuple[ProviderTries, ...]:
    """Return the providers that were tried; `metrics` is what provider_report.py prints as `tries`."""
    seen = metrics or {}
    requests, failures = seen.get("requests", ()), seen.get("failed", ())
    in_row = {each["provider"]: int(each["value"]) for each in seen.get("failed_in_row", ())}
    found = []
    for name in sorted(in_row):
        mine = sorted((each for each in failures if each["provider"] == name), key=lambda each: -each["value"])
        tries = sum(int(each["value"]) for each in requests if each["provider"] == name and each["outcome"] in TRIES)
        failed = sum(int(each["value"]) for each in mine)
        causes = tuple(str(each["cause"]) for each in mine)
        found.append(ProviderTries(name=name, tries=tries, failed=failed, in_row=in_row[name], causes=causes))
    return tuple(each for each in found if each.tries)
