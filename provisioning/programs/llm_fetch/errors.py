"""What went wrong, for the person who reads the log or for another try."""

from __future__ import annotations


class FetchError(Exception):
    """What the person who reads the log can mend."""


class InterruptedTransferError(Exception):
    """A transfer that may work when it is tried again."""

    def __init__(self, what: str, wait_s: float | None = None, *, busy: bool = False) -> None:
        super().__init__(what)
        self.wait_s = wait_s
        """After how many seconds the server wants to be asked again; None where it does not say."""
        self.busy = busy
        """Whether the server answered that it has too much to do."""


class RangeRefusedError(InterruptedTransferError):
    """A server that does not go on where the last transfer stopped: all is to be fetched again."""
