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


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Read the user and the groups."""
    return lambda: [_look_one(resource.name) for resource in resources]


def _look_one(name: str) -> Fact:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return {"exists": False}
    groups = sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return {"exists": True, "home": entry.pw_dir, "shell": entry.pw_shell, "groups": groups}


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that the user needs; other groups of the user stay."""
    if not fact["exists"]:
        return [("add", "create"), *(("join", f"join group {name}") for name in resource.groups)]
    changes = []
    if fact["home"] != resource.home:
        changes.append(("home", f"home {fact['home']} -> {resource.home}"))
    if fact["shell"] != NO_LOGIN:
        changes.append(("shell", f"shell {fact['shell']} -> {NO_LOGIN}"))
    return [*changes, *(("join", f"join group {name}") for name in resource.groups if name not in fact["groups"])]


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Add or modify the user."""
    verbs = {verb for verb, _ in changes}
    if "add" in verbs:
        same_group = _group_exists(resource.name)
        group = ["--gid", resource.name] if same_group else ["--user-group"]
        place = ["--home-dir", resource.home, "--no-create-home", "--shell", NO_LOGIN]
        run(["useradd", "--system", *group, *place, resource.name]).must()
    if verbs & {"home", "shell"}:
        run(["usermod", "--home", resource.home, "--shell", NO_LOGIN, resource.name]).must()
    if "join" in verbs:
        run(["usermod", "--append", "--groups", ",".join(resource.groups), resource.name]).must()


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
