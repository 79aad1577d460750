"""Resources of ours that a rented cloud has: what each is, whose it is, and how it is found and removed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import DeployError

REMOVE_DEADLINE_S = 240.0
"""How long things have to go, where the command around does not say."""

END_S = 300.0
"""How long a host that was just stopped or terminated may take to end."""

POLL_S = 2.0


@dataclass(frozen=True)
class CloudResource:
    """Something that a cloud has, and that is ours."""

    kind: str
    id: str
    region: str
    stack: str
    placement_id: str
    keep: bool = False
    """Whether it was left in place on purpose."""
    size_gib: float | None = None
    note: str = field(default="", compare=False)
    """What a person should know of it."""
    detail: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What removing it takes beside its id."""

    def __str__(self) -> str:
        size = f", {self.size_gib:g} GiB" if self.size_gib is not None else ""
        note = f": {self.note}" if self.note else ""
        return f"{self.kind} {self.id} in {self.region}{size} (stack {self.stack}){note}"


Outcome = Callable[[], str | None]
"""Asks what became of a removal that the cloud took on; returns what it said when that failed, else None."""


@dataclass(frozen=True)
class ResourceKind:
    """How to find and remove one kind of thing."""

    name: str
    find: Callable[[str, str | None], Iterator[CloudResource]]
    remove: Callable[[CloudResource], Outcome | None]
    """Asks a thing to go; returns how to ask what became of that, where it can still fail."""
    everywhere: bool = False
    """Whether the service answers the same in every region."""
    otherwise: Callable[[str, str | None], Iterator[CloudResource]] | None = None
    """Finds things of this kind where listing it is denied, by what others say of them; it may miss some."""
    blockers: Callable[[CloudResource], list[str]] | None = None
    """Names what others have in a thing and keeps it from going: what that is, who made it, and what removes it."""
    empty: Callable[[CloudResource], bool] | None = None
    """Removes some of what is in a thing, and returns whether there may be more; none: nothing has to go before it."""


@dataclass(frozen=True)
class Unasked:
    """A kind that could not be asked for: nobody knows whether something of it is left."""

    kind: str
    place: str
    error: DeployError

    def __str__(self) -> str:
        return f"{self.kind} in {self.place}: {self.error}"


class Found(list[CloudResource]):
    """What was found, in the order in which it can be removed; and beside it the kinds that could not be asked for."""

    def __init__(self, resources: Iterable[CloudResource] = (), unasked: Iterable[Unasked] = ()) -> None:
        super().__init__(resources)
        self.unasked = list(unasked)
