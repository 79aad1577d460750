"""A folder with owner, group and mode."""

from __future__ import annotations

import os

from ..paths import in_the_way, look_at, plan_metadata, set_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read type, owner and mode; a link to a folder counts as the folder."""
    return lambda: [look_at(resource.path, follow=True) for resource in resources]


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that the folder needs."""
    if fact["type"] == "absent":
        return [("make", "create")]
    if fact["type"] != "directory":
        return [in_the_way(fact)]
    return plan_metadata(resource, fact)


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Create the folder (missing parents get owner root, mode 0755) or set its metadata."""
    verbs = {verb for verb, _ in changes}
    if "make" in verbs:
        os.makedirs(os.path.dirname(resource.path), exist_ok=True)
        os.mkdir(resource.path, 0o700)
    set_metadata(resource.path, resource.owner, resource.group, resource.mode)
