"""Figures from results and event logs. Pure functions."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = tuple[str, str, float, int]
"""What happened at a stand-in (arrive, start, end, abort), to which request, when, and a number."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    row: str
    name: str
    goal: str
    value: str
    met: bool | None = None
    """None: there is no goal, or it was not measured."""
    noise: str = ""
    """How much the same measurement differs by itself on this machine."""

    def line(self) -> str:
        """Return the figure as text."""
        mark = {True: "✓ met   ", False: "✗ missed", None: "        "}[self.met]
        noise = f"   (noise: {self.noise})" if self.noise else ""
        return f"  {mark}  {self.name:58} {self.value:>22}   goal: {self.goal or '-'}{noise}"


@dataclass
class Table:
    """All figures so far, and what was measured in detail."""

    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        rows = [{name: getattr(each, name) for name in Figure.__dataclass_fields__} for each in self.figures]
        return {"figures": rows, "details": self.details}


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value below which `percent` of `values` are, by nearest rank; NaN if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


def amount(value: float, unit: str) -> str:
    """Return a value for a person: `ms` takes seconds, `%` a share, no unit a count."""
    if unit == "ms":
        return f"{value * 1000:.2f} ms"
    if unit == "%":
        return f"{value:.1%}"
    return f"{value:.2f} {unit}" if unit else f"{value:g}"


def ms(seconds: float) -> str:
    """Return seconds as milliseconds for a person."""
    return amount(seconds, "ms")


def free_spans(events: Mapping[str, Sequence[Event]], places: int, end: float) -> list[tuple[float, float]]:
    """Return when at least one host had a free place, until `end`: spans that do not touch each other.

    A place is taken from a request's arrival at the host to its end there.
    """
    changes = sorted(
        (at, 1 if what == "arrive" else -1, host)
        for host, logged in events.items()
        for what, _, at, _ in logged
        if what in ("arrive", "end", "abort")
    )
    running = dict.fromkeys(events, 0)
    spans, since = [], -math.inf if running else math.inf
    for at, change, host in changes:
        running[host] += change
        is_free = any(number < places for number in running.values())
        if is_free and since == math.inf:
            since = at
        elif not is_free and since != math.inf:
            spans.append((since, at))
            since = math.inf
    return [*spans, (since, end)] if since != math.inf else spans


def idle_while_waiting(
    sent: Mapping[str, float], events: Mapping[str, Sequence[Event]], places: int
) -> dict[str, float]:
    """Return for each request how long it waited at a stretch, in seconds, while a host had a free place.

    A request waits from the moment at which its client sent it to its arrival at a host.
    """
    arrived = {name: at for logged in events.values() for what, name, at, _ in logged if what == "arrive"}
    spans = free_spans(events, places, max(arrived.values(), default=0.0))
    starts = [start for start, _ in spans]
    idle = {}
    for name, at in arrived.items():
        longest, index = 0.0, max(0, bisect_right(starts, sent.get(name, at)) - 1)
        while index < len(spans) and spans[index][0] < at:
            start, end = spans[index]
            longest = max(longest, min(end, at) - max(start, sent.get(name, at)))
            index += 1
        idle[name] = longest
    return idle


def most_at_once(logged: Sequence[Event]) -> int:
    """Return the most requests that were in one engine at the same time."""
    most = running = 0
    for what, _, _, _ in logged:
        running += {"arrive": 1, "end": -1, "abort": -1}.get(what, 0)
        most = max(most, running)
    return most


def cached_share(events: Mapping[str, Sequence[Event]]) -> float:
    """Return the mean share of their prompt that requests found in a prefix cache."""
    shares = [number / 1000 for logged in events.values() for what, _, _, number in logged if what == "start"]
    return sum(shares) / len(shares) if shares else math.nan


def oracle_share(lengths: Sequence[tuple[int, int]], blocks: int) -> float:
    """Return the share that an oracle reaches: each group's prompt is computed once, whatever host has it.

    `lengths` has for each request its group and its common blocks; `blocks` are those of a whole prompt.
    """
    seen: set[int] = set()
    hits = 0
    for group, common in lengths:
        hits += common if group in seen else 0
        seen.add(group)
    return hits / (blocks * len(lengths))


def growth(samples: Sequence[float]) -> float:
    """Return how much more the last third of samples is than the middle third, as a share of it."""
    third = len(samples) // 3
    if not third:
        return math.nan
    middle, last = samples[third : 2 * third], samples[-third:]
    return max(last) / max(middle) - 1
