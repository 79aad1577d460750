"""A file system in /etc/fstab, mounted now."""

from __future__ import annotations

import os

from ..events import Failure
from ..fstab import MOUNT_POINT, find_line, put_line
from ..process import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

MOUNT_TIMEOUT_S = 120


def look(wishes: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read /etc/fstab and what is mounted."""
    return lambda: [{"line": find_line(w.path, MOUNT_POINT), "mounted": os.path.ismount(w.path)} for w in wishes]


def plan(wish: Any, fact: Fact) -> list[Change]:
    """Return the line to write and whether to mount."""
    changes = []
    if fact["line"].split() != _line(wish).split():
        changes.append(("keep", f"write /etc/fstab: {_line(wish)}"))
    if not fact["mounted"]:
        changes.append(("mount", f"mount {wish.source}"))
    return changes


def apply(wish: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:
    """Write the line and mount; what is mounted already is never unmounted, since files of it may be open."""
    verbs = {verb for verb, _ in changes}
    if "keep" in verbs:
        if fact["mounted"] and fact["line"]:
            raise Failure(f"{wish.path} is mounted from elsewhere; unmount it first, then run this again")
        put_line(_line(wish), MOUNT_POINT)
        run(["systemctl", "daemon-reload"]).must()
    if "mount" in verbs:
        os.makedirs(wish.path, exist_ok=True)
        run(["mount", wish.path], timeout_s=MOUNT_TIMEOUT_S, gone=host.events.controller_gone).must()


def _line(wish: Any) -> str:
    return f"{wish.source} {wish.path} {wish.fstype} {wish.options} 0 0"
