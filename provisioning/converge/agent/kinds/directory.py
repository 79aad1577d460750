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


def look(wishes: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read type, owner and mode; a link to a folder counts as the folder."""
    return lambda: [look_at(wish.path, follow=True) for wish in wishes]


def plan(wish: Any, fact: Fact) -> list[Change]:
    """Return what makes the folder as wished."""
    if fact["type"] == "absent":
        return [("make", "create")]
    if fact["type"] != "directory":
        return [in_the_way(fact)]
    return plan_metadata(wish, fact)


def apply(wish: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Make the folder (parents that lack get root's, 0755) or set its metadata."""
    verbs = {verb for verb, _ in changes}
    if "make" in verbs:
        os.makedirs(os.path.dirname(wish.path), exist_ok=True)
        os.mkdir(wish.path, 0o700)
    set_metadata(wish.path, wish.owner, wish.group, wish.mode)
