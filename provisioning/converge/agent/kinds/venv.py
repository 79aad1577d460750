"""A Python environment made by uv from a lock of exact versions with hashes.

An environment cannot be moved, because its scripts hold its path. So each is built in a folder named after its
fingerprint, and `path` is a link. The marker is written last and says that the build is complete; then the link is
replaced in one step. The previous environment is removed at the end of the run, when its units have been restarted,
unless `keep_former` leaves that to another resource. An environment that exists already is only linked again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os

from ..events import Failure
from ..paths import free_mib, group_id, in_the_way, look_at, os_failure, remove, staged_path, user_id
from ..process import Process, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

MARKER = ".llm-deploy.json"
BUILD_TIMEOUT_S = 3600
NO_SPACE = ("No space left on device", "os error 28", "ENOSPC")


def fingerprint(resource: Any) -> str:
    """Return the fingerprint that decides whether an environment is current."""
    parts = [resource.lock, resource.python, *resource.remove]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def build_folder(resource: Any, mark: str) -> str:
    """Return the folder of the build with this fingerprint, beside the link."""
    return "-".join(part for part in (resource.path, resource.version, mark[:12]) if part)


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read link and marker, and find environments without a link."""
    return lambda: [_look_one(resource) for resource in resources]


def _look_one(resource: Any) -> Fact:
    kind = look_at(resource.path)["type"]
    target = os.path.realpath(resource.path) if kind == "link" else ""
    wanted = fingerprint(resource)
    return {
        "type": kind,
        "fingerprint": _mark(target),
        "built": _mark(build_folder(resource, wanted)) == wanted,
        "strays": _strays(resource, target),
    }


NEXT = {
    "Using ": "resolving",
    "Resolved ": "downloading",
    "Prepared ": "installing",
    "Installed ": "compiling bytecode",
    "Bytecode ": "finishing",
}
"""What uv does after the line that begins so."""


def _mark(folder: str) -> str:
    """Return the fingerprint of a complete environment; an empty string for any other folder."""
    try:
        with open(os.path.join(folder, MARKER), encoding="utf-8") as stream:
            mark = str(json.load(stream)["fingerprint"])
    except (OSError, ValueError, KeyError):
        return ""
    return mark if os.access(os.path.join(folder, "bin", "python"), os.X_OK) else ""


def _strays(resource: Any, current: str) -> list[str]:
    """Return builds without a link: incomplete ones, and complete ones unless another resource keeps them."""
    parent, name = os.path.split(resource.path)
    hexdigits = set("0123456789abcdef")
    try:
        found = sorted(os.listdir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return []
    tails = ((other, other.rpartition("-")[2]) for other in found if other.startswith(name + "-"))
    strays = (os.path.join(parent, other) for other, tail in tails if len(tail) == 12 and set(tail) <= hexdigits)  # noqa: PLR2004
    return [path for path in strays if path != current and not (resource.keep_former and _mark(path))]


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return whether to build the environment, and which old ones to remove."""
    if fact["type"] not in ("absent", "link"):
        return [in_the_way(fact)]
    if fact["fingerprint"] != fingerprint(resource):
        if fact["built"]:
            return [("link", "link the existing build")]
        count = sum("==" in line and not line.lstrip().startswith("#") for line in resource.lock.splitlines())
        return [("build", f"build with {count} distributions")]
    return [("remove", f"remove {path}") for path in fact["strays"]]


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:
    """Build, mark, link. A failed build is removed, which frees its space."""
    verb = changes[0][0]
    mark = fingerprint(resource)
    folder = build_folder(resource, mark)
    for path in fact["strays"]:
        if path != folder or verb == "build":
            remove(path)
    if verb == "remove":
        return
    if verb == "build":
        _build_whole(resource, folder, mark, host)
    former = os.path.realpath(resource.path) if fact["type"] == "link" else ""
    staged = staged_path(resource.path)
    remove(staged)
    os.symlink(os.path.basename(folder), staged)
    os.replace(staged, resource.path)
    if former not in ("", folder) and not resource.keep_former:
        host.at_end.append(lambda: remove(former))


def _build_whole(resource: Any, folder: str, mark: str, host: Host) -> None:
    try:
        _build(resource, folder, host)
        with open(os.path.join(folder, MARKER), "w", encoding="utf-8") as stream:
            json.dump({"fingerprint": mark}, stream)
    except OSError as error:
        remove(folder)
        raise _no_space(resource) if error.errno == errno.ENOSPC else os_failure(error, folder) from error
    except BaseException:
        remove(folder)
        raise


def under_way(line: str) -> str:
    """Return what uv does now, from its newest line: its lines say what has ended."""
    return next((now for ended, now in NEXT.items() if line.startswith(ended)), line or "resolving")


def _build(resource: Any, folder: str, host: Host) -> None:
    def tick(process: Process) -> None:
        host.events.progress(resource.id, under_way(process.last_line()))

    def uv(*words: str) -> None:
        done = run(
            [resource.uv, *words],
            env={"VIRTUAL_ENV": folder, "UV_NO_PROGRESS": "1"},
            timeout_s=BUILD_TIMEOUT_S,
            gone=host.events.controller_gone,
            on_tick=tick,
        )
        if done.status != 0 and any(sign in done.output for sign in NO_SPACE):
            remove(folder)
            raise _no_space(resource, done.output)
        done.must(f"uv {' '.join(words[:2])} failed")

    os.makedirs(os.path.dirname(folder), exist_ok=True)
    remove(folder)
    uv("venv", "--quiet", "--python", resource.python, folder)
    lock = os.path.join(folder, "requirements.lock")
    with open(lock, "w", encoding="utf-8") as stream:
        stream.write(resource.lock)
    uv("pip", "install", "--no-deps", "--require-hashes", "--compile-bytecode", "-r", lock)
    if resource.remove:
        uv("pip", "uninstall", *resource.remove)
    if (resource.owner, resource.group) != ("root", "root"):
        _give_to(folder, user_id(resource.owner), group_id(resource.group))


def _no_space(resource: Any, output: str = "") -> Failure:
    """Return the failure. Call this after the incomplete environment was removed: the text says so."""
    what = f"no space left while building {resource.path}; the incomplete environment was removed"
    return Failure(f"{what}, {free_mib(resource.path)} MiB are free now", output)


def _give_to(folder: str, uid: int, gid: int) -> None:
    os.chown(folder, uid, gid)
    for parent, names, leaves in os.walk(folder):
        for name in names + leaves:
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)
