"""What a cloud said about the end of this machine, and what follows from it. Values and pure functions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

LEAD_S = 300.0
"""A notice that comes earlier than this before the end is only shown until then: the host serves meanwhile."""


@dataclass(frozen=True)
class Finding:
    """One notice. Times are seconds since 1970."""

    kind: str
    """The cloud's word, e.g. terminate, rebalance, preempted."""
    source: str
    """The cloud."""
    at: float
    """When it came."""
    deadline: float | None = None
    """When the machine ends. None: unknown."""
    advice: bool = False
    """Whether it only recommends to leave."""
    counted: bool = False
    """Whether the cloud names no end, so that it is counted from the first look."""

    def as_json(self) -> dict[str, object]:
        """Return what the notice's file holds."""
        values = asdict(self)
        del values["advice"], values["counted"]
        return values


@dataclass(frozen=True)
class Seen:
    """One look at the metadata service."""

    findings: tuple[Finding, ...] = ()
    problem: str = ""
    """Why it is not known whether there is a notice."""


def draining(findings: Sequence[Finding], now: float, *, on_advice: bool) -> Finding | None:
    """Return the notice that makes the host drain now: the one with the earliest end."""
    due = [
        each
        for each in findings
        if (on_advice or not each.advice) and (each.deadline is None or each.deadline - now <= LEAD_S)
    ]
    return min(due, key=lambda each: (each.advice, each.deadline or float("inf")), default=None)


def as_first_seen(found: Finding, earlier: Sequence[Finding], now: float) -> Finding:
    """Return `found` with the times that it had before this service was restarted, if it is among `earlier`.

    A restart must not move an end that is counted. An end that the cloud names is true.
    """
    for each in earlier:
        if (each.kind, each.source) != (found.kind, found.source) or found.deadline is None or each.deadline is None:
            continue
        if not found.counted and each.deadline != found.deadline:
            continue
        if each.at < found.at and now < each.deadline <= found.deadline:
            return replace(found, at=each.at, deadline=each.deadline)
    return found
