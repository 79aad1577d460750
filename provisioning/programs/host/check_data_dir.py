#!/usr/bin/env python3
"""Say why an engine's unit could not use the folders of its data. Changes nothing.

    check-data-dir USER PROGRAMS FOLDER...

Exits 0 if USER may enter every folder on the way to each FOLDER, programs may run in PROGRAMS, and the unit's sandbox
shows the folders. The first FOLDER is the host's data_dir. Provision gives each FOLDER owner root and mode 0755, so
its present mode does not matter. A folder that cannot be checked passes.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108  # no file is made there
"""Folders that PrivateTmp hides from the unit."""

HOMES = ("/home", "/root", "/run/user")
"""Folders that ProtectHome hides; with a data_dir in one of them the unit sees all three (roles/engine/engine.py)."""


def below(path: str, folders: Sequence[str]) -> str:
    """Return the entry of `folders` that is `path` or above it; an empty string if there is none."""
    return next((each for each in folders if f"{path}/".startswith(f"{each}/")), "")


def way_to(folder: str) -> list[str]:
    """Return the existing folders on the way to `folder`, outermost first, including `folder`."""
    parts = folder.strip("/").split("/")
    way = ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
    return [each for each in way if os.path.isdir(each)]  # noqa: PTH112  # Path.is_dir raises where root may not look


def problem(may_enter: Callable[[str], bool], programs: str, folders: Sequence[str]) -> str:
    """Return why the unit could not use `folders`, or run programs in `programs`; an empty string if it can."""
    data_dir = folders[0]
    ours = {os.path.realpath(each) for each in folders}
    for named in folders:
        real = os.path.realpath(named)
        hidden = "" if below(named, PRIVATE) else below(real, PRIVATE)
        hidden = hidden or ("" if data_dir.startswith(("/home/", "/root/")) else below(real, HOMES))
        if hidden:
            return f"{named} leads to {real}, and the engine's unit does not see {hidden}; move the folder out of it"
        way = [each for each in way_to(real) + way_to(named) if os.path.realpath(each) not in ours]
        closed = next((os.path.realpath(each) for each in way if not may_enter(each)), "")
        if closed:
            return (
                f"{closed}: the engine's user may not enter it, and {named} lies below; "
                f"run `chmod o+x {shlex.quote(closed)}`, or write another data_dir"
            )
    if mounted_noexec(programs):
        return f"{programs} is on a file system mounted noexec; mount it with exec, or write another data_dir"
    return ""


def mounted_noexec(folder: str) -> bool:
    """Return whether no program may run in `folder`, or in the folder in which it will be made."""
    try:
        return bool(os.statvfs((way_to(os.path.realpath(folder)) or ["/"])[-1]).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def entered_by(user: str) -> Callable[[str], bool]:
    """Return a test whether `user` may enter a folder; for a user that does not exist yet, the modes decide."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return by_mode(user)

    def become() -> None:
        os.initgroups(user, entry.pw_gid)  # with all groups of the user, as systemd does
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)

    def may_enter(folder: str) -> bool:
        # The kernel decides, because it knows access lists too. Status 1 means no; any other failure is not an answer.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(["test", "-x", folder], preexec_fn=become, check=False, cwd="/").returncode != 1
        return True

    return may_enter


def by_mode(user: str) -> Callable[[str], bool]:
    """Return that test for a user that does not exist yet and will join the group of its name, if there is one."""
    groups = {each.gr_gid for each in grp.getgrall() if each.gr_name == user or user in each.gr_mem}

    def may_enter(folder: str) -> bool:
        with contextlib.suppress(OSError):
            seen = Path(folder).stat()
            return bool(seen.st_mode & (stat.S_IXGRP if seen.st_gid in groups else stat.S_IXOTH))
        return True

    return may_enter


def main(user: str, programs: str, *folders: str) -> int:
    """Look; return the exit status."""
    found = problem(entered_by(user), programs, folders)
    if found:
        print(f"planned: fail: {found}\nerror: {found}")  # the first for a plan, the second for a run
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
