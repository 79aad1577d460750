"""Messages of the agent, line by line, as values. Other output, e.g. of a login shell, is ignored."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from core.reading.strict_json import parse_object
from provisioning.converge.result import Outcome, Progress


@dataclass(frozen=True, kw_only=True)
class Need:
    """The agent waits for pieces of content."""

    pieces: list[tuple[str, int, int]]
    """SHA-256 of the whole content, offset and length of each piece."""


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """The agent waits for the result of a second login."""


@dataclass(frozen=True, kw_only=True)
class End:
    """The agent has ended."""

    phases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """The agent refused to start, or crashed."""

    error: str = ""
    detail: str = ""


Message = Outcome | Progress | Need | Confirm | End | Trouble

_SHAPES: dict[str, TypeAdapter[Any]] = {
    "resource": TypeAdapter(Outcome),
    "progress": TypeAdapter(Progress),
    "need": TypeAdapter(Need),
    "confirm": TypeAdapter(Confirm),
    "end": TypeAdapter(End),
    "refused": TypeAdapter(Trouble),
    "crashed": TypeAdapter(Trouble),
}


def event_of(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line; None for a line that is not the agent's."""
    if not line.startswith(b"{"):
        return None
    try:
        event = parse_object(line)
    except ValueError:
        return None
    return event if isinstance(event.get("event"), str) else None


def read_event(event: dict[str, Any]) -> Message | None:
    """Return the message in an event; None for an unknown kind. Raises ValueError for a wrong shape."""
    shape = _SHAPES.get(event["event"])
    said: Message | None = shape.validate_python(event) if shape else None
    return said
