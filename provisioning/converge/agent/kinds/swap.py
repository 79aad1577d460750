"""A swap file, in use now and after a reboot."""

from __future__ import annotations

import os

from ..events import Failure
from ..fstab import find_line, put_line
from ..paths import free_mib, remove, staged_path
from ..process import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

MAKE_TIMEOUT_S = 600


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read size, use and the line in /etc/fstab."""
    return lambda: [_look_one(resource.path) for resource in resources]


def _look_one(path: str) -> Fact:
    with open("/proc/swaps", encoding="utf-8") as stream:
        used = any(line.split()[:1] == [path] for line in stream)
    size_mib = os.stat(path).st_size >> 20 if os.path.isfile(path) else 0
    return {"size_mib": size_mib, "used": used, "line": find_line(path)}


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that create the file, use it, and use it after a reboot."""
    changes = []
    if fact["size_mib"] != resource.size_mib:
        changes.append(("make", f"{fact['size_mib']} -> {resource.size_mib} MiB"))
    if not fact["used"] or changes:
        changes.append(("use", "swap on"))
    if fact["line"].split() != _line(resource).split():
        changes.append(("keep", f"write /etc/fstab: {_line(resource)}"))
    return changes


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Create the file beside its place and move it, so that an incomplete file is never used as swap."""
    verbs = {verb for verb, _ in changes}
    if "make" in verbs:
        if free_mib(resource.path) <= resource.size_mib:
            raise Failure(
                f"needs {resource.size_mib} MiB at {resource.path}, which has {free_mib(resource.path)} MiB free"
            )
        if fact["used"]:
            run(["swapoff", resource.path], timeout_s=MAKE_TIMEOUT_S).must()
        staged = staged_path(resource.path)
        remove(staged)
        os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        run(["fallocate", "-l", f"{resource.size_mib}M", staged], timeout_s=MAKE_TIMEOUT_S).must()
        run(["mkswap", staged], timeout_s=MAKE_TIMEOUT_S).must()
        os.replace(staged, resource.path)
    if "use" in verbs:
        run(["swapon", resource.path]).must()
    if "keep" in verbs:
        put_line(_line(resource))


def _line(resource: Any) -> str:
    return f"{resource.path} none swap sw 0 0"
