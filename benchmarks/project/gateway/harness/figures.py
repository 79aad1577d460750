"""Figures from results and event logs. Pure functions."""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGEST_QUEUE = 1000
"""So many requests before one may wait together with it."""

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


@dataclass(frozen=True, kw_only=True)
class Refill:
    """A place that a request took while others had been waiting before."""

    free: float
    """Since when it was free and a request waited."""
    taken: float

    @property
    def idle_s(self) -> float:
        """How long it was free beside a request that waited."""
        return self.taken - self.free


def passed_over(refills: Sequence[Refill], tolerance_s: float) -> list[Refill]:
    """Return the places that were taken well after another one, though that one was free well after them."""
    ordered = sorted(refills, key=lambda each: each.free)
    starts = [each.free for each in ordered]
    return [
        place
        for place in ordered
        if any(
            other.taken < place.taken - tolerance_s
            for other in ordered[bisect_right(starts, place.free + tolerance_s) : bisect_left(starts, place.taken)]
        )
    ]


def refills(
    sent: Mapping[str, float], events: Mapping[str, Sequence[Event]], places: int, start_s: float = 0.0
) -> list[Refill]:
    """Return each time a place was taken beside a queue. The place of a host that was free first is taken first.

    A request waits from the moment at which its client sent it to its arrival at a host. Places that nobody took while
    requests waited count as taken at the last arrival. Nothing counts in the first `start_s` seconds: a queue forms.
    """
    arrived = {name: at for logged in events.values() for what, name, at, _ in logged if what == "arrive"}
    starts = sorted(arrived.values())
    if not starts:
        return []
    begin = min(sent.values(), default=starts[0]) + start_s
    queue = sorted((sent.get(name, at), at) for name, at in arrived.items())
    found = []
    for logged in events.values():
        free = deque([-math.inf] * places)
        changes = sorted((at, what == "arrive") for what, _, at, _ in logged if what in ("arrive", "end", "abort"))
        for at, takes in [*changes, *[(starts[-1], True)] * places]:
            if not takes:
                free.append(at)
            elif free and (since := max(begin, free.popleft(), _waiting_since(queue, at))) <= at:
                found.append(Refill(free=since, taken=at))
    return found


def _waiting_since(queue: Sequence[tuple[float, float]], at: float) -> float:
    """Return when the oldest request was sent that waited until `at` or longer; infinity if none did."""
    end = bisect_left(queue, (at, -math.inf))
    start = max(0, end - LONGEST_QUEUE)
    return next((sent for sent, arrived in queue[start:end] if arrived >= at), math.inf)


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
