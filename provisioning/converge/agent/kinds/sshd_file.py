"""A file of sshd settings. It is kept only if a login works with it; otherwise the old file is restored.

After the reload the controller logs in a second time while the first connection is still open. If that fails, or the
controller is gone, the agent restores the old file. If the agent dies meanwhile, a systemd timer does so.
"""

from __future__ import annotations

import contextlib
import os
import time

from ..events import Cut, Failure
from ..paths import remove, staged_path, write_file
from ..process import run
from . import file as plain
from .unit import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

SERVICE, SOCKET = "ssh.service", "ssh.socket"
"""From Ubuntu 22.10 on the socket listens and starts the service, so the service need not be enabled."""

GUARD_UNIT = "llm-sshd-undo"
GUARD_S = 240
"""Seconds until systemd restores the old file: more than check, reload and second login, each a minute at most."""
CONFIRM_S = 60
"""How long the controller may take for the second login."""

RELOAD_SETTLE_S = 1.0
RELOAD_POLL_S = 0.02
"""sshd re-executes itself on SIGHUP; until then a login still gets the old settings. It reads them before it opens its
sockets again. Sockets that systemd gave it stay the same, so a reload then counts as done after RELOAD_SETTLE_S."""

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""

RESTORE = (
    '[ -e "$1" ] || exit 0; '
    'if [ -s "$1" ]; then mv -f "$1" "$2"; elif [ -e "$1" ]; then rm -f "$2" && rm -f "$1"; fi; '
    "systemctl --quiet is-active ssh.service && systemctl reload ssh.service; true"
)
"""If `$1` is missing, there is nothing to restore. If `$1` is empty, there was no previous file."""


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:
    """Read the files, and ask systemd whether socket or service listens."""
    finish = plain.look(resources, host)

    def both() -> list[Fact]:
        units = show([SERVICE, SOCKET])
        return [
            {**fact, "unconfirmed": os.path.lexists(before_path(resource.path)), "units": units}
            for resource, fact in zip(resources, finish())
        ]

    return both


def before_path(path: str) -> str:
    """Return where the previous file waits for the second login; sshd reads only names that end with .conf."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.before")


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that bring the file into force and let sshd start after a reboot."""
    changes = list(plain.plan(resource, fact))
    if not changes and fact["unconfirmed"]:
        changes.append(("confirm", "was not confirmed by a second login"))
    states = [fact["units"][name] for name in (SERVICE, SOCKET)]
    if not any(state["UnitFileState"] in ("enabled", "alias", "static", "indirect") for state in states):
        changes.append(("enable", f"enable {SERVICE}"))
    if not any(state["ActiveState"] in ("active", "activating", "reloading") for state in states):
        changes.append(("start", f"start {SERVICE}"))
    return changes


diff = plain.diff


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Install the file, let the controller log in with it, and restore the old one if that fails."""
    verbs = {verb for verb, _ in changes}
    if verbs - {"enable", "start"}:
        _replace(resource, verbs, host)
    for verb in ("enable", "start"):
        if verb in verbs:
            run(["systemctl", verb, SERVICE]).must()


def _replace(resource: Any, verbs: set[str], host: Host) -> None:
    before = before_path(resource.path)
    if "tidy" in verbs:
        remove(staged_path(resource.path))
    if verbs & {"tidy"} == verbs - {"enable", "start"}:
        return
    _disarm()
    kept = os.path.lexists(before)  # the guard of an interrupted run may have acted since the look
    if not kept:
        _keep(resource.path, before)
    try:
        try:
            _arm(resource.path, before)
            metadata = {"owner": resource.owner, "group": resource.group, "mode": resource.mode}
            write_file(resource.path, resource.content.encode(), **metadata, check=resource.check)
        except Failure:
            if not kept:
                _disarm()
                remove(before)  # nothing was replaced
            raise
        refusal = "it could not be loaded" if not _reload() else _confirmed(resource, host)
        if not refusal:
            _disarm()  # first, so that the guard finds the previous file or nothing to do
            if not os.path.lexists(before):
                _reload()  # the guard may have stopped between the file and the reload
                refusal = f"it was not confirmed within {GUARD_S} s"
    except (Cut, Failure):
        _take_back(resource.path, before)
        raise
    if refusal:
        _take_back(resource.path, before)
        where = f"`journalctl -u {SERVICE.partition('.')[0]}` on the host may say why"
        raise Failure(f"was undone, because {refusal}; the old settings are in force, and {where}")
    remove(before)


def _keep(path: str, before: str) -> None:
    """Keep a copy of the present file; an empty copy means that there was none."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except (FileNotFoundError, NotADirectoryError):
        content = b""
    write_file(before, content, mode=0o600)


def _arm(path: str, before: str) -> None:
    """Let systemd restore the old file after a while, even if this agent dies."""
    run(["systemctl", "reset-failed", GUARD_UNIT + ".timer", GUARD_UNIT + ".service"])
    timer = [f"--on-active={GUARD_S}", f"--unit={GUARD_UNIT}", "--timer-property=AccuracySec=1s"]
    run(["systemd-run", "--quiet", "--collect", *timer, "sh", "-c", RESTORE, "restore", before, path]).must(
        "systemd-run cannot set the timer that restores the old file"
    )


def _disarm() -> None:
    """Stop the guard, even if it has just begun."""
    run(["systemctl", "stop", GUARD_UNIT + ".timer", GUARD_UNIT + ".service"])


def _reload() -> bool:
    """Return whether sshd has read its files again; a socket-activated sshd reads them at each start."""
    if show([SERVICE])[SERVICE]["ActiveState"] not in ("active", "activating", "reloading"):
        return True
    pid = run(["systemctl", "show", "--property=MainPID", "--value", SERVICE]).output.strip()
    before = listening(pid)
    if run(["systemctl", "reload", SERVICE]).status != 0:
        return False
    end = time.monotonic() + RELOAD_SETTLE_S
    while time.monotonic() < end and not (before and listening(pid) - before):
        time.sleep(RELOAD_POLL_S)
    return True


def listening(pid: str) -> set[str]:
    """Return the TCP sockets on which process `pid` listens, by their numbers in the kernel."""
    held, open_ones = set(), set()
    with contextlib.suppress(OSError):  # it has ended, or has just closed the socket
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                held.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        for table in ("tcp", "tcp6"):
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as lines:
                fields = [line.split() for line in lines][1:]
            open_ones |= {f"socket:[{each[9]}]" for each in fields if each[3] == LISTEN}
    return held & open_ones


def _confirmed(resource: Any, host: Host) -> str:
    """Return an empty string once the controller has logged in a second time, else why it has not."""
    return host.confirm(resource.id, CONFIRM_S)


def _take_back(path: str, before: str) -> None:
    run(["sh", "-c", RESTORE, "restore", before, path])
    _disarm()
