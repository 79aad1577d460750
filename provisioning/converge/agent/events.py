"""Events of the agent: JSON lines on stdout with every secret masked. Also notices that the controller is gone."""

from __future__ import annotations

import json
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MASK = "(secret)"
MASKED_LINE_MIN = 8
"""Shorter lines of a secret with several lines, e.g. `-----`, are not masked: that would hide ordinary words."""

PROTOCOL = ("id", "pieces", "status", "seconds", "fraction", "phases")
"""Fields that are not masked. They hold no output of other programs, and masking a short secret such as `1234` in
them would break the protocol."""

HEARTBEAT_S = 2.0


class Failure(Exception):
    """A resource could not be brought to its desired state; `detail` holds the output or journal with the reason."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.detail = detail


class RebootNeeded(Exception):
    """A change takes effect only after a reboot. The text says what is in use until then."""


class Cut(Exception):
    """The controller is gone or asked the agent to stop; the current change was finished or undone."""


class Events:
    """Writes events, keeps the secrets that must not be in them, and watches for the controller to go away."""

    def __init__(self, out: int, listener: int | None) -> None:
        self._out = out
        self._listener = listener
        """The file descriptor that ends when the controller is gone; None without a controller."""
        self._secrets: list[str] = []
        self._held = b""
        self._last = time.monotonic()
        self.cut = False
        self.answers_due = 0
        """How many answers of the controller are due. While some are, bytes on stdin do not mean a cut."""

    def keep_secret(self, value: str) -> None:
        """Mask `value` from now on, and each of its longer lines, because output comes in lines."""
        lines = [line for line in value.splitlines() if len(line) >= MASKED_LINE_MIN]
        for text in {value.strip(), *lines}:
            if text and text not in self._secrets:
                self._secrets.append(text)
        self._secrets.sort(key=len, reverse=True)

    def mask(self, value: Any) -> Any:
        """Return `value` with the secrets in all of its strings replaced."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MASK)
            return value
        if isinstance(value, dict):
            return {key: self.mask(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.mask(item) for item in value]
        return value

    def emit(self, event: str, *, hold: bool = False, **fields: Any) -> None:
        """Write one event. A held event is sent with the next one, which saves packets when nothing changes."""
        said = {name: value if name in PROTOCOL else self.mask(value) for name, value in fields.items()}
        line = json.dumps({"event": event, **said}, separators=(",", ":"))
        self._held += line.encode() + b"\n"
        if not hold:
            self.flush()

    def flush(self) -> None:
        """Write the held events. If the controller is gone, only set `cut`: the current change ends first."""
        data, self._held = self._held, b""
        self._last = time.monotonic()
        while data and not self.cut:
            try:
                data = data[os.write(self._out, data) :]
            except OSError:
                self.cut = True

    def progress(self, resource: str, text: str, fraction: float | None = None) -> None:
        """Report the progress of a long change, at most every HEARTBEAT_S seconds."""
        if time.monotonic() - self._last >= HEARTBEAT_S:
            self.emit("progress", id=resource, text=text, fraction=fraction)

    def controller_gone(self) -> bool:
        """Return whether the connection has ended or a signal asked the agent to stop."""
        if not self.cut and self._listener is not None and self.answers_due == 0:
            readable, _, _ = select.select([self._listener], [], [], 0)
            if readable and not os.read(self._listener, 1):
                self.cut = True
        return self.cut

    def stop_if_cut(self) -> None:
        """Raise Cut if the controller is gone."""
        if self.controller_gone():
            raise Cut()
