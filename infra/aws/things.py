"""What AWS has of ours: how a thing is described, found by tag or name, and told whose it is."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.aws.tags import ID, KEEP, STACK

OWN_NAME = re.compile(r"llm-(?P<stack>[a-z][a-z0-9-]*)-(?P<id>[0-9a-f]{8})(?:-(?:host|timetable))?")
LOGS_PREFIX = "/llm-deploy/"

GONE_STATES = ("deleted", "deleting")


@dataclass(frozen=True)
class Thing:
    """Something that AWS has, and that is ours."""

    kind: str
    id: str
    region: str
    stack: str
    lease_id: str
    keep: bool = False
    """Whether it was left in place on purpose."""
    size_gib: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What removing it takes beside its id."""

    def __str__(self) -> str:
        size = f", {self.size_gib:g} GiB" if self.size_gib is not None else ""
        return f"{self.kind} {self.id} in {self.region}{size} (stack {self.stack})"


def tag_filter(lease_id: str | None) -> list[dict[str, Any]]:
    """Return how EC2 is asked for the things of one lease, or of all."""
    if lease_id is None:
        return [{"Name": "tag-key", "Values": [ID]}]
    return [{"Name": f"tag:{ID}", "Values": [lease_id]}]


def owner_by_tags(seen: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return whose a tagged thing is."""
    tags = {each["Key"]: each["Value"] for each in seen}
    return {"stack": tags.get(STACK, "?"), "lease_id": tags.get(ID, ""), "keep": KEEP in tags}


def owner_by_name(name: str) -> dict[str, Any] | None:
    """Return whose a named thing is; None when it is none of ours."""
    found = OWN_NAME.fullmatch(name.removeprefix(LOGS_PREFIX))
    return {"stack": found["stack"], "lease_id": found["id"]} if found else None


@dataclass(frozen=True)
class Kind:
    """How to find and remove one kind of thing."""

    name: str
    find: Callable[[str, str | None], Iterator[Thing]]
    remove: Callable[[Thing], None]
    everywhere: bool = False
    """Whether the service answers the same in every region."""
