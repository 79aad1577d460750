"""The lock that a Pulumi engine takes on a stack in the backend. A killed engine does not release it.

infra/automation/lock.py has our own lock, which the kernel releases.
"""

import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from core.console import say
from core.errors import DeployError
from core.processes import Process
from infra.automation.engine_errors import EngineError

Answer = TypeVar("Answer")

LOCKED = re.compile(r"the stack is currently locked by \d+ lock")
LOCK = re.compile(r"created by (?P<user>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\)")


class LockedError(DeployError):
    """Another Pulumi engine works on the stack, or was killed on another machine while it held the lock."""


def unlocked(run: Callable[[], Answer], cancel: Callable[[], None], *, stack: str) -> Answer:
    """Return the result of `run`. If the lock's holder is dead, call `cancel`, which removes the lock, and run again.

    Raises EngineError, LockedError if the holder may be alive.
    """
    try:
        return run()
    except EngineError as error:
        if not LOCKED.search(str(error)):
            raise
        _break_lock(str(error), cancel, stack)
    return run()


def _break_lock(conflict: str, cancel: Callable[[], None], stack: str) -> None:
    """Remove the lock that `conflict` names. Raises LockedError unless its holder is surely dead."""
    holders = [match.groupdict() for match in LOCK.finditer(conflict)]
    if not _all_dead(holders):
        named = ", ".join("{user}@{host}, process {pid}".format(**each) for each in holders)
        raise LockedError(
            f"is locked by {named or 'another Pulumi engine'}",
            where=f"stack {stack}",
            hint="wait until it ends; if that process no longer exists, run `pulumi cancel`",
        )
    say("  removing the lock of a Pulumi engine that was killed")
    cancel()


def _all_dead(holders: Sequence[dict[str, str]]) -> bool:
    """Return whether every lock was taken by a process of this machine that no longer runs."""
    return bool(holders) and all(
        holder["host"] == socket.gethostname() and not _is_pulumi(int(holder["pid"])) for holder in holders
    )


def _is_pulumi(pid: int) -> bool:
    """Return whether a running Pulumi engine has this pid. A zombie does not run."""
    try:
        return Process.of_pid(pid) is not None and Path(f"/proc/{pid}/comm").read_text().strip() == "pulumi"
    except (FileNotFoundError, ProcessLookupError):
        return False
