"""Looks at what is at a path, and replaces it in one step."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shutil
import stat

from .events import Failure
from .process import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    Change = tuple[str, str]

STAGED = ".llm-deploy-new"
ABSENT = {"type": "absent"}
_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
_IN_WORDS = {"file": "a file", "directory": "a folder", "link": "a link", "other": "a device or socket"}


def look_at(path: str, *, follow: bool = False) -> dict[str, Any]:
    """Return type, owner, group, mode and size of what is at `path`."""
    try:
        seen = os.stat(path) if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return dict(ABSENT)
    return {
        "type": _TYPES.get(stat.S_IFMT(seen.st_mode), "other"),
        "owner": _user_name(seen.st_uid),
        "group": _group_name(seen.st_gid),
        "mode": stat.S_IMODE(seen.st_mode),
        "size": seen.st_size,
    }


def in_the_way(fact: dict[str, Any]) -> Change:
    """Return the refusal to replace an entry of another type."""
    return ("refuse", f"{_IN_WORDS[fact['type']]} is in the way; move it away first")


def plan_metadata(resource: Any, fact: dict[str, Any]) -> list[Change]:
    """Return the changes that owner, group and mode need."""
    changes = []
    for name in ("owner", "group"):
        if fact[name] != getattr(resource, name):
            changes.append((name, f"{name} {fact[name]} -> {getattr(resource, name)}"))
    if fact["mode"] != resource.mode:
        changes.append(("mode", f"mode {fact['mode']:04o} -> {resource.mode:04o}"))
    return changes


def set_metadata(path: str, owner: str, group: str, mode: int) -> None:
    """Give `path` its owner, group and mode, in this order because a change of owner clears mode bits."""
    os.chown(path, user_id(owner), group_id(group))
    os.chmod(path, mode)


def user_id(name: str) -> int:
    """Return a user's number. Raises Failure when there is no such user."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise Failure(f"there is no user {name} on this host") from error


def group_id(name: str) -> int:
    """Return a group's number. Raises Failure when there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise Failure(f"there is no group {name} on this host") from error


def write_file(
    path: str, data: bytes, *, owner: str = "root", group: str = "root", mode: int = 0o644, check: Sequence[str] = ()
) -> None:
    """Put `data` at `path` in one step once `check` has passed on it; on any failure the old file stays.

    The staged file has the right name in a hidden folder beside it, because a check may depend on the name
    (`systemd-analyze verify` needs `x.service`). A reader never sees half of the file, nor a wrong mode. A missing
    folder is created with owner root and mode 0755, as for drop-in folders.
    """
    uid, gid = user_id(owner), group_id(group)
    stage = staged_path(path)
    try:
        remove(stage)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(stage, 0o700)
        staged = os.path.join(stage, os.path.basename(path))
        with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if check:
            run([part.replace("{path}", staged) for part in check]).must("the check of the new content failed")
        os.replace(staged, path)
    except OSError as error:
        raise os_failure(error, path) from error
    finally:
        remove(stage)
    sync_folder(path)


def staged_path(path: str) -> str:
    """Return the folder for staged files. It is always the same, so that a run finds the file of an interrupted one."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{STAGED}")


def remove(path: str) -> None:
    """Remove a file, a link or a whole folder, if it exists."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return


def sync_folder(path: str) -> None:
    """Make the rename of `path` survive a power cut."""
    handle = os.open(os.path.dirname(path) or "/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def os_failure(error: OSError, path: str) -> Failure:
    """Return the failure at `path`; for a full disk, with the free space and the state of the old content."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(f"no space left for {path} ({free_mib(path)} MiB free); the previous content is unchanged")
    return Failure(f"{path}: {error.strerror}")


def free_mib(path: str) -> int:
    """Return the free space of the file system that holds `path` or would hold it, in MiB."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    seen = os.statvfs(path)
    return int(seen.f_bavail * seen.f_frsize >> 20)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
