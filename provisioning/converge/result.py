"""The reports of a run on a host, during the run and at its end. Values only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "changed", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one resource; in a dry run `changed` means that it would be changed."""

    id: str
    status: Status
    changes: tuple[str, ...] = ()
    """The changes, in words."""
    diff: str = ""
    """Unified diff of a file that is not secret."""
    error: str = ""
    detail: str = ""
    """Output of the program, or journal of the unit, with the reason of the failure."""
    reboot: str = ""
    """Why the change needs a reboot; empty if it does not."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a long change."""

    id: str
    text: str
    fraction: float | None = None
    """0 to 1, where known."""


OnEvent = Callable[[str, Outcome | Progress], None]
"""Called with the host's name and each event there, in order."""


@dataclass(frozen=True, kw_only=True)
class HostResult:
    """The result of a run on one host; each resource is in one of the four tuples."""

    host: str
    ok: bool
    changed: tuple[Outcome, ...] = ()
    unchanged: tuple[Outcome, ...] = ()
    failed: tuple[Outcome, ...] = ()
    skipped: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    round_trips: int = 1
    """Exchanges with the agent: one, plus one for each request for content of large files."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase: connect, agent_start, facts, compare_and_change, …"""

    @property
    def reboot(self) -> Outcome | None:
        """The change that needs a reboot, if there is one; the resources that depend on it wait."""
        return next((outcome for outcome in self.changed if outcome.reboot), None)

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and the names of all except the unchanged ones, as provision.json holds them."""
        return {
            "host": self.host,
            "ok": self.ok,
            "changed": len(self.changed),
            "unchanged": len(self.unchanged),
            "failed": len(self.failed),
            "skipped": len(self.skipped),
            "seconds": round(self.seconds, 3),
            "round_trips": self.round_trips,
            "phases": {name: round(seconds, 4) for name, seconds in self.phases.items()},
            "changes": {outcome.id: list(outcome.changes) for outcome in self.changed},
            "change_seconds": {outcome.id: round(outcome.seconds, 3) for outcome in self.changed},
            "errors": {outcome.id: outcome.error for outcome in (*self.failed, *self.skipped)},
        }
