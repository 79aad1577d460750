"""What the kinds may use while they look and apply."""

from __future__ import annotations

from .confirm import unasked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol, Sequence

    from .blobs import Take, Wanted
    from .events import Events
    from .state import State

    class Blobs(Protocol):
        """Where the content of large files comes from."""

        def copy(self, wanted: Sequence[Wanted], take: Take) -> None:
            """Hand all bytes of all blobs to `take`, in order."""

        def path(self, sha256: str) -> str:
            """Return where a blob lies on this host; nothing when it does not."""


class Host:
    """This host during one run."""

    def __init__(
        self,
        events: Events,
        state: State,
        blobs: Blobs,
        units: Sequence[str],
        confirm: Callable[[str, float], str] = unasked,
    ) -> None:
        self.events = events
        self.state = state
        self.blobs = blobs
        self.units = units
        """All units in the list."""
        self.confirm = confirm
        """Asked with a resource's id and a patience in seconds; returns why a second login failed, or nothing."""
        self.at_end: list[Callable[[], None]] = []
        """What is done after the last resource, when no resource has failed."""
