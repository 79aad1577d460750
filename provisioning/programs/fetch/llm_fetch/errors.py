"""Errors of a fetch. The reader of the log can correct some; another try may get past the others."""

from __future__ import annotations


class FetchError(Exception):
    """An error that the reader of the log can correct."""


class InterruptedTransferError(Exception):
    """A transfer that may work if it is tried again."""

    def __init__(self, what: str, wait_s: float | None = None, *, busy: bool = False) -> None:
        super().__init__(what)
        self.wait_s = wait_s
        """Seconds after which the server accepts another request; None if it does not say."""
        self.busy = busy
        """Whether the server answered that it is overloaded."""


class RangeRefusedError(InterruptedTransferError):
    """The server cannot resume where the last transfer stopped, so the whole file must be fetched again."""
