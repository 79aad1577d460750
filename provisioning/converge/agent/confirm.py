"""Asks the controller to log in a second time while the agent's own connection is still open."""

from __future__ import annotations

import json
import select
import time

from .events import Cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from .events import Events

TICK_S = 0.5


class WireConfirm:
    """The controller's answer to an event `confirm`: one JSON line with `error`, empty if the login worked."""

    def __init__(self, events: Events, stream: BinaryIO) -> None:
        self._events = events
        self._stream = stream

    def __call__(self, resource: str, patience_s: float) -> str:
        """Return an empty string if a second login worked, else why it failed. Raises Cut if no answer comes."""
        end = time.monotonic() + patience_s
        self._events.answers_due = 1
        try:
            self._events.emit("confirm", id=resource)
            while not self._events.cut and time.monotonic() < end:
                readable, _, _ = select.select([self._stream.fileno()], [], [], TICK_S)
                if readable:
                    answer = self._stream.readline()
                    if answer:
                        return str(json.loads(answer)["error"])
                    break
                self._events.progress(resource, "waiting for a second login")
            self._events.cut = True
            raise Cut()
        finally:
            self._events.answers_due = 0


def unasked(resource: str, patience_s: float) -> str:  # noqa: ARG001
    """Return an empty string: a run without a controller uses no SSH login that could be locked out."""
    return ""
