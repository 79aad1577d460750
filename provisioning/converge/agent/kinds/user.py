"""A system user with a group of the same name and no login shell."""

from __future__ import annotations

import grp
import pwd

from ..process import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

NO_LOGIN = "/usr/sbin/nologin"


def look(wishes: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read the user and the groups."""
    return lambda: [_look_one(wish.name) for wish in wishes]


def _look_one(name: str) -> Fact:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return {"exists": False}
    groups = sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return {"exists": True, "home": entry.pw_dir, "shell": entry.pw_shell, "groups": groups}


def plan(wish: Any, fact: Fact) -> list[Change]:
    """Return what makes the user as wished; groups that others added stay."""
    if not fact["exists"]:
        return [("add", "create"), *(("join", f"join group {name}") for name in wish.groups)]
    changes = []
    if fact["home"] != wish.home:
        changes.append(("home", f"home {fact['home']} -> {wish.home}"))
    if fact["shell"] != NO_LOGIN:
        changes.append(("shell", f"shell {fact['shell']} -> {NO_LOGIN}"))
    return [*changes, *(("join", f"join group {name}") for name in wish.groups if name not in fact["groups"])]


def apply(wish: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Add or modify the user."""
    verbs = {verb for verb, _ in changes}
    if "add" in verbs:
        same_group = _group_exists(wish.name)
        group = ["--gid", wish.name] if same_group else ["--user-group"]
        place = ["--home-dir", wish.home, "--no-create-home", "--shell", NO_LOGIN]
        run(["useradd", "--system", *group, *place, wish.name]).must()
    if verbs & {"home", "shell"}:
        run(["usermod", "--home", wish.home, "--shell", NO_LOGIN, wish.name]).must()
    if "join" in verbs:
        run(["usermod", "--append", "--groups", ",".join(wish.groups), wish.name]).must()


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
