"""A symbolic link."""

from __future__ import annotations

import os

from ..paths import in_the_way, look_at, remove, staged_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read where each link points."""
    return lambda: [_look_one(resource.path) for resource in resources]


def _look_one(path: str) -> Fact:
    fact = look_at(path)
    return {"type": fact["type"], "target": os.readlink(path) if fact["type"] == "link" else ""}


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the change that points the link to its target."""
    if fact["type"] == "absent":
        return [("link", f"create -> {resource.target}")]
    if fact["type"] == "link":
        return [] if fact["target"] == resource.target else [("link", f"{fact['target']} -> {resource.target}")]
    return [in_the_way(fact)]


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Replace the link in one step; create a missing folder."""
    staged = staged_path(resource.path)
    remove(staged)
    os.makedirs(os.path.dirname(resource.path), exist_ok=True)
    os.symlink(resource.target, staged)
    os.replace(staged, resource.path)
