"""Whether it is proven that a stack's data volumes are blank. Only then may an edit of the file make them smaller.

No cloud reports whether a disk was ever attached. The proof is in the checkout's note. After each failed attempt of a
first `up`, we read the state. If no attempt has created a host, the note gets the time of that state. If the state has
another time now, it was changed later, in another checkout or by hand. An interrupted attempt notes no time. In both
cases the volumes may hold data.
"""

from typing import TYPE_CHECKING

from core.errors import DeployError
from infra.clouds.program.naming import is_gateway
from infra.contract.stack_placement import KnownPlacement, Progress

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def still_blank(noted: KnownPlacement, held: "Stack", *, exports: bool) -> KnownPlacement:
    """Return the placement as it was noted, without `blank_at` if the state has changed since or has a host.

    `exports`: whether the state exports a placement, which it does after an `up` that created all hosts.
    """
    if not noted.blank_at or not (noted.is_complete or exports or blank_at(held) != noted.blank_at):
        return noted
    return noted if noted.progress is None else KnownPlacement.of(noted, Progress(holds_nothing=noted.holds_nothing))


class BlankVolumes:
    """Whether a stack's data volumes are proven to be blank, before and after each attempt of an `up`."""

    at: str
    """`blank_at` for the next attempt."""

    def __init__(self, previous: KnownPlacement | None, held: "Stack") -> None:
        """`previous`: the placement before the first attempt."""
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
    """Return the time of the state, as the Pulumi engine writes it.

    Empty: the state has a host with an engine, may get one, or has no time. The gateway's own machine has no volume.
    """
    try:
        engines = [name for name in held.machines() if not is_gateway(name)]
        return "" if engines or held.has_creations_in_flight() else held.written_at()
    except DeployError:
        return ""
