"""Our resources in a cloud: what each one is, which stack it belongs to, and how its kind is found and removed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import DeployError

REMOVE_DEADLINE_S = 240.0
"""How long a removal may take, unless the command sets another limit."""

END_S = 300.0
"""How long a host that was just stopped or terminated may take to end."""

POLL_S = 2.0


@dataclass(frozen=True)
class CloudResource:
    """A resource in a cloud that belongs to one of our stacks."""

    kind: str
    id: str
    region: str
    stack: str
    placement_id: str
    keep: bool = False
    """Whether `storage.keep_on_down` keeps it."""
    size_gib: float | None = None
    note: str = field(default="", compare=False)
    """Shown behind its name."""
    detail: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What its removal needs besides the id."""

    def __str__(self) -> str:
        size = f", {self.size_gib:g} GiB" if self.size_gib is not None else ""
        note = f": {self.note}" if self.note else ""
        return f"{self.kind} {self.id} in {self.region}{size} (stack {self.stack}){note}"


Outcome = Callable[[], str | None]
"""Queries an accepted removal; returns the cloud's words if it failed, else None."""


@dataclass(frozen=True)
class ResourceKind:
    """How to find and remove one kind of resource."""

    name: str
    find: Callable[[str, str | None], Iterator[CloudResource]]
    remove: Callable[[CloudResource], Outcome | None]
    """Requests a removal; returns how to query its outcome if it can still fail."""
    everywhere: bool = False
    """Whether the service gives the same answer in every region."""
    otherwise: Callable[[str, str | None], Iterator[CloudResource]] | None = None
    """Finds resources of this kind through others that refer to them, if listing is denied; may miss some."""
    blockers: Callable[[CloudResource], list[str]] | None = None
    """Returns a line for each resource of others that blocks the removal: what it is, who made it, how to remove it."""
    empty: Callable[[CloudResource], bool] | None = None
    """Deletes one batch of the contents and returns True if more may remain. None: it need not be emptied."""


@dataclass(frozen=True)
class Unasked:
    """A kind that could not be listed: some of it may remain."""

    kind: str
    place: str
    error: DeployError

    def __str__(self) -> str:
        return f"{self.kind} in {self.place}: {self.error}"


class Found(list[CloudResource]):
    """Resources in the order in which they can be removed, and the kinds that could not be listed."""

    def __init__(self, resources: Iterable[CloudResource] = (), unasked: Iterable[Unasked] = ()) -> None:
        super().__init__(resources)
        self.unasked = list(unasked)
