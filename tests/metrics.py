"""Metrics in Prometheus's text format, for tests."""

import re
import urllib.error
import urllib.request
from dataclasses import dataclass

_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One line."""

    name: str
    labels: dict[str, str]
    value: float


def read_metrics(text: str) -> list[Sample]:
    """Return the samples of `text`. Fails for a line in another format."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            found.append(Sample(match["name"], dict(_LABEL.findall(match["labels"] or "")), float(match["value"])))
    return found


@dataclass(frozen=True)
class Metrics:
    """The metrics at a URL."""

    url: str

    def answers(self) -> bool:
        """Return whether something serves metrics there."""
        try:
            self.read()
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def read(self) -> list[Sample]:
        """Return all samples, now."""
        with urllib.request.urlopen(self.url, timeout=10) as answer:  # noqa: S310  # http://127.0.0.1
            return read_metrics(answer.read().decode())

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the samples called `name` that have `labels`."""
        return sum(each.value for each in self.read() if each.name == name and labels.items() <= each.labels.items())
