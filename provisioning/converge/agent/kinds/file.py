"""A file with given content."""

from __future__ import annotations

import hashlib
import os

from ..paths import in_the_way, look_at, plan_metadata, remove, set_metadata, staged_path, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

DIFF_MAX_BYTES = 64 * 1024
PRIVATE = 0o044
"""A diff is shown only if the old file has one of these mode bits: a file that only root reads may hold a secret."""


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read each path; small content is kept for the diff."""
    return lambda: [_look_one(resource.path) for resource in resources]


def _look_one(path: str) -> Fact:
    fact = look_at(path)
    fact["leftover"] = os.path.lexists(staged_path(path))
    if fact["type"] == "file":
        with open(path, "rb") as stream:
            content = stream.read()
        fact["sha256"] = hashlib.sha256(content).hexdigest()
        fact["content"] = content if len(content) <= DIFF_MAX_BYTES else None
    return fact


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that the file needs."""
    tidy = [("tidy", "remove the temporary file of an interrupted run")] if fact["leftover"] else []
    if fact["type"] == "directory":
        return [("refuse", "is a folder; only files are removed") if resource.content is None else in_the_way(fact)]
    if resource.content is None:
        return tidy if fact["type"] == "absent" else [*tidy, ("remove", "remove")]
    if fact["type"] == "absent":
        return [("write", "create")]
    if fact["type"] != "file":
        return [("write", f"replace a {fact['type']}")]
    if fact["sha256"] != hashlib.sha256(resource.content.encode()).hexdigest():
        shown = "(secret) changed" if resource.secret else "content changed"
        return [("write", shown), *plan_metadata(resource, fact)]
    return [*tidy, *plan_metadata(resource, fact)]


def diff(resource: Any, fact: Fact) -> str:
    """Return a unified diff; empty if either side is secret, private, binary or very long."""
    old = fact.get("content", b"")
    new = resource.content or ""
    private = fact["type"] == "file" and not fact["mode"] & PRIVATE
    if resource.secret or private or old is None or len(new) > DIFF_MAX_BYTES:
        return ""
    try:
        before = old.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return ""
    import difflib  # slow to import, and most runs have no diff

    after = new.splitlines(keepends=True)
    names = (
        "/dev/null" if fact["type"] == "absent" else resource.path,
        resource.path if resource.content is not None else "/dev/null",
    )
    lines = difflib.unified_diff(before, after, *names)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Write, remove or chmod."""
    verbs = {verb for verb, _ in changes}
    if "tidy" in verbs:
        remove(staged_path(resource.path))
    if "remove" in verbs:
        os.unlink(resource.path)
    elif "write" in verbs:
        metadata = {"owner": resource.owner, "group": resource.group, "mode": resource.mode}
        write_file(resource.path, resource.content.encode(), **metadata, check=resource.check)
    elif verbs - {"tidy"}:
        set_metadata(resource.path, resource.owner, resource.group, resource.mode)
