"""The values of `make top`, from two reports of each host. Reaches no host.

None is a value that nobody could read; 0 is one that was read.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from provisioning.operate.provider_tries import ProviderTries, read_tries

Report = Mapping[str, Any]
"""What programs/host/top_report.py printed."""

WINDOW_S = 60
"""Length of the access log from which rates and times come, in seconds."""

CLASS_ORDER = ("interactive", "batch")
"""Rows keep their places between two refreshes."""

NO_CLASS = "-"
"""The gateway refused a request before it gave it a class: an unknown model, a body that is not JSON."""

OVERFLOW_FAILED = "overflow_failed"
"""What the service says if no provider answered. The log has the reason why the request went to it."""

SERVER_ERROR = 500
TOO_MANY = 429


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of one host: its last two reports, or why there is none."""

    host: str
    latest: Report | None = None
    before: Report | None = None
    error: str = ""
    silent_s: float = 0
    """Seconds since the last answer."""


@dataclass(frozen=True, kw_only=True)
class HostRow:
    """One host."""

    name: str
    state: str
    """HAProxy's state of its engine: `UP`, `DOWN`, `DRAIN`, …; `no answer` or `?`."""
    error: str
    running: int | None
    places: int | None
    prompt_tokens_s: float | None
    answer_tokens_s: float | None
    cache: float | None
    """Share of the KV cache in use."""
    adapters: tuple[str, ...] | None
    """Adapters that compute now."""


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """The requests of one class: those that wait now, and those that ended within the window."""

    name: str
    waiting: int | None
    requests: int
    wait_p95_s: float | None
    first_p50_s: float | None
    first_p95_s: float | None
    refused: int
    errors: int


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What overflow cost at one provider in one period."""

    provider: str
    period: str
    spent_usd: float
    cap_usd: float | None


@dataclass(frozen=True, kw_only=True)
class Top:
    """The whole view."""

    stack: str
    window_s: int
    hosts: tuple[HostRow, ...]
    waiting: int | None
    """Requests that wait for a place or an engine, in all pools."""
    classes: tuple[ClassRow, ...]
    reasons: Mapping[str, int]
    """Refused requests by reason."""
    failures: Mapping[str, int]
    """Failed requests by reason."""
    spend: tuple[Spend, ...]
    providers: tuple[ProviderTries, ...]
    """Providers that were tried since the overflow service started."""
    unseen: Mapping[str, str]
    """What could not be read, by host and part."""

    @property
    def running(self) -> int | None:
        """Requests that engines compute."""
        return _sum(host.running for host in self.hosts)

    @property
    def places(self) -> int | None:
        """Requests that engines take at the same time, of those that are up."""
        return _sum(host.places for host in self.hosts if host.state.startswith("UP"))

    @property
    def answer_tokens_s(self) -> float | None:
        """Tokens of answers a second."""
        known = [host.answer_tokens_s for host in self.hosts if host.answer_tokens_s is not None]
        return sum(known) if known else None

    def as_json(self) -> dict[str, Any]:
        """Return the values for --json."""
        totals = {"running": self.running, "places": self.places, "answer_tokens_s": self.answer_tokens_s}
        return {**asdict(self), **totals}


def top(stack: str, seen: Sequence[Seen], window_s: int = WINDOW_S) -> Top:
    """Return the view of a stack."""
    gateways = [each.latest["gateway"] for each in seen if each.latest and each.latest["gateway"]]
    servers = {server["name"]: server for gateway in gateways for server in gateway["servers"]}
    requests = [
        request for each in seen if each.latest and each.latest["requests"] for request in each.latest["requests"]
    ]
    waiting = _waiting(seen)
    refused = [request for request in requests if request["decision"] == "refused"]
    return Top(
        stack=stack,
        window_s=window_s,
        hosts=tuple(_host(each, servers.get(each.host)) for each in seen if _has_engine(each, servers)),
        waiting=_sum(waiting.values()) if waiting else _sum(sum(each["waiting"].values()) for each in gateways),
        classes=tuple(_classes(requests, waiting)) if gateways else (),
        reasons=_counted(request["reason"] or "-" for request in refused),
        failures=_counted(_failure(request) for request in requests if _failed(request)),
        spend=tuple(spend for each in seen if each.latest for spend in _spend(each.latest["overflow"])),
        providers=tuple(tries for each in seen if each.latest for tries in read_tries(each.latest["overflow"])),
        unseen={
            f"{each.host} {part}": why
            for each in seen
            if each.latest and not each.error
            for part, why in each.latest["unseen"].items()
        },
    )


def _waiting(seen: Sequence[Seen]) -> dict[str, int]:
    """Return how many requests wait, by class; empty if no gateway says it."""
    waiting: dict[str, int] = {}
    for each in seen:
        for queue in (each.latest or {}).get("waiting") or () if not each.error else ():
            waiting[queue["class"]] = waiting.get(queue["class"], 0) + queue["requests"]
    return waiting


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _failed(request: Mapping[str, Any]) -> bool:
    """Return whether an answer was an error of the server, or none began."""
    return bool(request["status"] >= SERVER_ERROR or request["status"] < 0)


def _failure(request: Mapping[str, Any]) -> str:
    """Return why a request failed."""
    if request["status"] < 0:
        return "client left"
    if request["decision"] == "overflow":
        return OVERFLOW_FAILED
    return str(request["reason"] if request["reason"] not in (None, "", "-") else f"HTTP {request['status']}")


def _has_engine(seen: Seen, servers: Mapping[str, Any]) -> bool:
    """Return whether a host has a row: a gateway machine that answers has none."""
    return seen.host in servers or bool(seen.error) or seen.latest is None or seen.latest["engine"] is not None


def _host(seen: Seen, server: Mapping[str, Any] | None) -> HostRow:
    latest = seen.latest if not seen.error else None  # old numbers would look like present ones
    engine = (latest or {}).get("engine")
    return HostRow(
        name=seen.host,
        state=server["state"] if server else "no answer" if seen.error else "?",
        error=seen.error,
        running=server["running"] if server else None,
        places=(server["places"] or None) if server else None,
        prompt_tokens_s=_rate(seen, "prompt_tokens") if engine else None,
        answer_tokens_s=_rate(seen, "answer_tokens") if engine else None,
        cache=engine["cache"] if engine else None,
        adapters=tuple(engine["adapters"]) if engine else None,
    )


def _rate(seen: Seen, name: str) -> float | None:
    """Return how fast a counter of the engine grows; None if the engine restarted in between."""
    if seen.latest is None or seen.before is None or not seen.before["engine"]:
        return None
    seconds = seen.latest["monotonic"] - seen.before["monotonic"]
    grown = seen.latest["engine"][name] - seen.before["engine"][name]
    return grown / seconds if seconds > 0 and grown >= 0 else None


def _classes(requests: Sequence[Mapping[str, Any]], waiting: Mapping[str, int]) -> Iterator[ClassRow]:
    """Yield a row for each class, in a fixed order; requests without a class come last."""
    names = sorted({str(request["class"]) for request in requests} | {name for name in waiting if waiting[name]})
    known = [name for name in CLASS_ORDER if name in names]
    others = [name for name in names if name not in (*CLASS_ORDER, NO_CLASS)]
    for name in (*known, *others, *(name for name in names if name == NO_CLASS)):
        mine = [request for request in requests if request["class"] == name]
        waits = sorted(request["queue_ms"] / 1000 for request in mine if _came_through(request))
        firsts = sorted(
            request["first_token_ms"] / 1000
            for request in mine
            if request["first_token_ms"] >= 0 and request["status"] < TOO_MANY
        )
        refused = [request for request in mine if request["decision"] == "refused"]
        yield ClassRow(
            name=name,
            waiting=waiting.get(name),
            requests=len(mine),
            wait_p95_s=percentile(waits, 0.95),
            first_p50_s=percentile(firsts, 0.5),
            first_p95_s=percentile(firsts, 0.95),
            refused=len(refused) + sum(request["status"] == TOO_MANY for request in mine if request not in refused),
            errors=sum(map(_failed, mine)),
        )


def _came_through(request: Mapping[str, Any]) -> bool:
    """Return whether an answer to a request began."""
    return bool(request["queue_ms"] >= 0 and request["first_byte_ms"] >= 0)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of all values do not exceed; None if there are none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def _spend(overflow: Mapping[str, Any] | None) -> Iterator[Spend]:
    """Yield what overflow cost, with its cap."""
    caps = {
        (entry.get("provider", ""), entry.get("period", "")): entry["value"]
        for entry in (overflow or {}).get("cap_usd", ())
    }
    for entry in (overflow or {}).get("spent_usd", ()):
        key = (entry.get("provider", ""), entry.get("period", ""))
        yield Spend(provider=key[0], period=key[1], spent_usd=entry["value"], cap_usd=caps.get(key))


def _sum(values: Iterator[int | None] | Any) -> int | None:
    """Return the sum of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
