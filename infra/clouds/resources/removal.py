"""Removing resources of a cloud in rounds, until the cloud no longer lists them."""

import time
from collections.abc import Callable, Collection, Iterable

from core.errors import DeployError
from core.waiting.deadline import Deadline
from infra.clouds.resources.kinds import POLL_S, REMOVE_DEADLINE_S, CloudResource, Found, Outcome, ResourceKind

Look = Callable[[list[CloudResource]], Collection[CloudResource]]
"""Queries the cloud for resources; returns those that it still has, as a Found if some kinds could not be queried."""


def remove_until_gone(
    resources: Iterable[CloudResource],
    kinds: Iterable[ResourceKind],
    look: Look,
    *,
    deadline_s: float = REMOVE_DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove resources and wait until `look` finds none of them.

    Raises DeployError with the cloud's words for each resource that remains after `deadline_s`.
    """
    removal = Removal(resources, kinds, Deadline.after(deadline_s, clock))
    while removal.remaining:
        removal.request()
        removal.forget_gone(look(removal.remaining))
        if removal.remaining and not removal.end.left_s():
            raise DeployError(
                f"resources still exist after {deadline_s:.0f} s",
                where="the cloud",
                hint="run the command again",
                detail="\n".join(removal.report()),
            )
        if removal.remaining:
            sleep(POLL_S)


class Removal:
    """The resources still to be removed, the accepted removals, and the cloud's reasons for the refused ones."""

    def __init__(self, resources: Iterable[CloudResource], kinds: Iterable[ResourceKind], end: Deadline) -> None:
        self.remaining = list(resources)
        self.end = end
        self._kinds = {kind.name: kind for kind in kinds}
        self._accepted: dict[CloudResource, Outcome | None] = {}
        self._refused: dict[CloudResource, str] = {}

    def request(self) -> None:
        """Request the removal of everything that the cloud has not accepted yet, until the deadline.

        A resource that another one still uses is refused, and requested again in the next round.
        """
        for resource in self.remaining:
            if not self.end.left_s():
                return
            try:
                self._drop_failed(resource)
                if resource not in self._accepted:
                    self._remove(resource)
            except DeployError as error:
                self._refused[resource] = str(error)

    def forget_gone(self, found: Collection[CloudResource]) -> None:
        """Keep only what the cloud still has. If a kind could not be queried, accepted removals of it count as done."""
        there = set(found)
        unasked = {each.kind for each in found.unasked} if isinstance(found, Found) else set[str]()
        self.remaining = [
            each for each in self.remaining if (each not in self._accepted if each.kind in unasked else each in there)
        ]

    def report(self) -> list[str]:
        """Return a line for each resource that still exists, with the reason, and the resources of others in it."""
        lines = [f"  {resource}: {self._reason(resource)}" for resource in self.remaining]
        return lines + [f"    in it: {line}" for resource in self.remaining for line in self._blockers(resource)]

    def _remove(self, resource: CloudResource) -> None:
        kind = self._kinds[resource.kind]
        while kind.empty is not None and kind.empty(resource):
            if not self.end.left_s():
                return
        self._accepted[resource] = kind.remove(resource)

    def _drop_failed(self, resource: CloudResource) -> None:
        """If an accepted removal failed afterwards, request it again."""
        outcome = self._accepted.get(resource)
        failure = outcome() if outcome is not None else None
        if failure is not None:
            self._refused[resource] = failure
            del self._accepted[resource]

    def _reason(self, resource: CloudResource) -> str:
        if resource in self._refused:
            return self._refused[resource]
        return "removal requested, still there" if resource in self._accepted else "not requested: no time was left"

    def _blockers(self, resource: CloudResource) -> list[str]:
        blockers = self._kinds[resource.kind].blockers
        try:
            return blockers(resource) if blockers is not None else []
        except DeployError as error:
            return [f"the resources of others in it could not be listed: {error}"]
