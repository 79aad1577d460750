"""Things of ours that a rented cloud has: what each is, whose it is, and how to wait until it is gone."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
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


def remove_until_gone(
    resources: Iterable[CloudResource],
    kinds: Iterable[ResourceKind],
    look: Callable[[list[CloudResource]], Collection[CloudResource]],
    *,
    deadline_s: float = REMOVE_DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove things and wait until `look`, which asks the cloud, sees none of them.

    What something else still needs is tried again once that has gone. A thing whose kind cannot be asked for has to be
    taken for gone once it was asked to go. Raises DeployError with what the cloud said when they do not go.
    """
    by_name = {kind.name: kind for kind in kinds}
    left, end, told = list(resources), clock() + deadline_s, dict[CloudResource, str]()
    asked: dict[CloudResource, Outcome | None] = {}

    def remove(resource: CloudResource, kind: ResourceKind) -> None:
        while kind.empty is not None and kind.empty(resource):
            if clock() >= end:
                return
        asked[resource] = kind.remove(resource)

    def ask_again_what_failed(resource: CloudResource) -> None:
        outcome = asked.get(resource)
        failure = outcome() if outcome is not None else None
        if failure is not None:
            told[resource] = failure
            del asked[resource]

    while left:
        for resource in (each for each in left if clock() < end):
            try:
                ask_again_what_failed(resource)
                if resource not in asked:
                    remove(resource, by_name[resource.kind])
            except DeployError as error:
                told[resource] = str(error)
        seen = look(left)
        there = set(seen)
        unasked = {each.kind for each in seen.unasked} if isinstance(seen, Found) else set()
        left = [
            resource for resource in left if (resource not in asked if resource.kind in unasked else resource in there)
        ]
        if left and clock() >= end:
            unasked_to_go = {resource: "no time was left to ask it to go" for resource in left if resource not in asked}
            words = unasked_to_go | told
            lines = [f"  {resource}: {words.get(resource, 'asked to go, still there')}" for resource in left]
            lines += [f"    in it: {line}" for resource in left for line in _blockers(by_name[resource.kind], resource)]
            raise DeployError(
                f"not gone after {deadline_s:.0f} s", where="the cloud", hint="run it again", detail="\n".join(lines)
            )
        if left:
            sleep(POLL_S)


def _blockers(kind: ResourceKind, resource: CloudResource) -> list[str]:
    """Return what others have in a thing; empty when that cannot be asked."""
    try:
        return kind.blockers(resource) if kind.blockers is not None else []
    except DeployError as error:
        return [f"what others have in it could not be asked: {error}"]
