"""Whether the data volumes of a stack are proven to be blank: then an edit of the file may make them smaller.

No cloud tells whether a disk was ever attached. The proof is in our own note: after each failed attempt of a stack's
first `up` we look at the state, and when no attempt has made a host, the lease notes the time of that state. A state
of another time was changed since, in another checkout or by hand; an attempt that was cut off notes no time. In both
cases the volumes count as ones that may hold data.
"""

from typing import TYPE_CHECKING

from core.errors import DeployError
from infra.contract.stack_placement import KnownPlacement, Progress

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def still_blank(noted: KnownPlacement, held: "Stack", *, exports: bool) -> KnownPlacement:
    """Return the lease as it was noted, without `blank_at` when the state was changed since or has a host.

    `exports`: whether the state exports a lease, which an `up` does that has made all hosts.
    """
    if not noted.blank_at or not (noted.is_complete or exports or blank_at(held) != noted.blank_at):
        return noted
    return noted if noted.progress is None else KnownPlacement.of(noted, Progress(holds_nothing=noted.holds_nothing))


class BlankVolumes:
    """What is proven of a stack's data volumes from attempt to attempt of an `up`."""

    at: str
    """The lease's `blank_at` for the next attempt."""

    def __init__(self, previous: KnownPlacement | None, held: "Stack") -> None:
        """`previous`: the lease as it is known before the first attempt."""
        self._held = held
        self.at = previous.blank_at if previous is not None else ""
        self._are_blank = bool(self.at) if previous is not None else _is_empty(held)

    def look_again(self) -> str:
        """Return `blank_at` after an attempt that failed."""
        self.at = blank_at(self._held) if self._are_blank else ""
        self._are_blank = bool(self.at)
        return self.at


def _is_empty(held: "Stack") -> bool:
    try:
        return not held.known_ids()
    except DeployError:
        return False


def blank_at(held: "Stack") -> str:
    """Return the time of the state, as the engine writes it.

    Empty when the state has a host, may get one, or tells no time.
    """
    try:
        return "" if held.has_machines() or held.has_creations_in_flight() else held.written_at()
    except DeployError:
        return ""
