"""The host and the services of the agent that kinds of resources use in `look` and `apply`."""

from __future__ import annotations

from .confirm import unasked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol, Sequence

    from .blobs import Take, Wanted
    from .events import Events
    from .state import State

    class Blobs(Protocol):
        """The source of large files' content."""

        def copy(self, wanted: Sequence[Wanted], take: Take) -> None:
            """Pass all bytes of all blobs to `take`, in order."""

        def path(self, sha256: str) -> str:
            """Return the path of a blob on this host; None if it is not here."""


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
        """Takes a resource's id and a timeout in seconds; returns why a second login failed, or an empty string."""
        self.at_end: list[Callable[[], None]] = []
        """Functions to call after the last resource, if no resource has failed."""
