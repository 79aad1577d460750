"""Debian packages, in one apt transaction.

Masks each service whose `Unit` is in the list and does not exist yet, until apt is done: otherwise the distribution
would start it (e.g. haproxy) with its default configuration before ours is installed. Leaves other services alone.
"""

from __future__ import annotations

import fcntl
import glob
import os
import re
import time

from ..dpkg import LISTS_TORN, forget_lists, mend
from ..events import Failure
from ..process import Process, run
from .unit import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, str]

LISTS = "/var/lib/apt/lists"
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")
LISTS_FRESH_S = 3600
MOST_WARNINGS = 3
NOT_FOUND = re.compile(
    r"Unable to (locate|fetch)|no installation candidate|Failed to fetch|have been held broken|not found"
)
APT_TIMEOUT_S = 3600
LOCK_WAIT_S = 600
LOCK_POLL_S = 0.2
RUNTIME_UNITS = "/run/systemd/system"
STATES = "${Package} ${db:Status-Status} ${db:Status-Eflag}\n"
APT = (
    "apt-get", "-y", "-q", "--no-install-recommends",
    "-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
"""Keeps configuration files that this project or the admin changed: nobody can answer dpkg's question."""


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Ask dpkg once for all sets."""
    names = sorted({name for resource in resources for name in (*resource.present, *resource.absent)})
    query = Process(["dpkg-query", "-W", "-f", STATES, *names], dies_with_agent=False)

    def finish() -> list[Fact]:
        query.wait(LOCK_WAIT_S)
        seen = states(query.output())
        query.close()
        return [{name: seen.get(name, "not-installed") for name in (*w.present, *w.absent)} for w in resources]

    return finish


def states(listing: str) -> Fact:
    """Return the state of each package in dpkg's words. One that must be unpacked again counts as half-installed."""
    rows = (line.split() for line in listing.splitlines())
    return {
        name: status if flag == "ok" else "half-installed"
        for name, status, flag in (row for row in rows if len(row) == 3)  # noqa: PLR2004
    }


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return packages to install (half-configured ones too) and to purge."""
    installs = [("install", f"install {name}") for name in resource.present if fact[name] != "installed"]
    return [*installs, *(("purge", f"purge {name}") for name in resource.absent if fact[name] != "not-installed")]


def apply(resource: Any, fact: Fact, changes: list[Change], host: Host) -> None:  # noqa: ARG001
    """Complete an interrupted dpkg run, fetch the lists if they are old, then install and purge in one call.

    Unreadable sources, and other packages that cannot be configured, are not failures if all desired packages are
    installed in the end.
    """
    installs = [words.split(" ", 1)[1] for verb, words in changes if verb == "install"]
    purges = [words.split(" ", 1)[1] + "-" for verb, words in changes if verb == "purge"]

    def call(argv: Sequence[str]) -> tuple[int, str]:
        done = run(argv, timeout_s=APT_TIMEOUT_S, on_tick=tick, must_finish=True)
        return done.status, done.output

    def tick(process: Process) -> None:
        host.events.progress(resource.id, process.last_line())

    said: list[str] = []

    def apt(*words: str) -> int:
        first = not any(LISTS_TORN.search(each) for each in said)
        status, output = call([*APT, *words])
        said.append(output)
        if first and LISTS_TORN.search(output):
            forget_lists()
            call([*APT, "update"])
            return apt(*words)
        return status

    transaction = ["install", "--purge", *installs, *purges]
    _wait_for_lists()
    with _MaskedUnits(host.units):
        left = mend(call, resource.absent)
        if installs and (left or _lists_are_old()):
            apt("update")
            left = left and mend(call, resource.absent)
        status = apt(*transaction)
        if status != 0 and installs:
            apt("--fix-broken", "install")
            apt("update")
            left = mend(call, resource.absent)
            status = apt(*transaction)
    if status != 0 and plan(resource, look([resource], host)()[0]):
        raise Failure(_cause(said, left), "".join(said))
    changes.extend(("warn", f"warning: {line}") for line in _complaints(said, status)[:MOST_WARNINGS])


def _wait_for_lists() -> None:
    """Wait for an `apt-get update` that a killed run left behind: apt does not wait for this lock, only for dpkg's."""
    deadline = time.monotonic() + LOCK_WAIT_S
    with open(f"{LISTS}/lock", "a", encoding="ascii") as stream:
        while time.monotonic() < deadline:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(LOCK_POLL_S)
            else:
                return


def _lists_are_old() -> bool:
    """Return whether `apt-get update` is due: never done, an hour old, or older than the list of sources."""
    indexes = glob.glob(f"{LISTS}/*_Packages*") + glob.glob(f"{LISTS}/*_InRelease")
    if not indexes:
        return True
    fetched = os.stat(LISTS).st_mtime
    changed = max(
        (os.stat(p).st_mtime for p in (*SOURCES, *glob.glob(SOURCES[1] + "/*")) if os.path.exists(p)), default=0
    )
    return fetched < changed or time.time() - fetched > LISTS_FRESH_S


def _cause(said: Sequence[str], left: str = "") -> str:
    """Return why apt failed: a full disk, a wrong clock, packages on hold, or apt's own error line.

    A list that could not be fetched explains a package that was not found; other failures have other causes.
    """
    lines = [line for output in said for line in output.splitlines()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg: error"))]
    full = [line.strip() for line in lines if "No space left on device" in line]
    early = [line + "; the host's clock is behind" for line in errors if "is not valid yet" in line]
    held = [
        f"{errors[-1]} Packages on hold: {name}; `apt-mark unhold` lets them change"
        for name in _held(said)[:1]
        if errors
    ]
    # The line with the reason comes first; `Err:` has only the address.
    fetches = [line for line in lines if "Failed to fetch" in line]
    fetches += [line for line in lines if line.startswith("Err:")]
    unfound = any(NOT_FOUND.search(line) for line in errors)
    ranked = [*full, *early, *([left] if left else []), *held, *(fetches if unfound else []), *errors, *fetches]
    return "apt-get failed: " + next(iter(ranked), "see its output")


def _complaints(said: Sequence[str], status: int) -> list[str]:
    """Return what apt could not read or configure, although all desired packages are installed."""
    lines = [line for output in said for line in output.splitlines()]
    unread = [line for line in lines if line.startswith(("E: The repo", "E: Failed to fetch", "W: Failed", "W: GPG"))]
    return list(dict.fromkeys([*unread, *(line for line in lines if status and line.startswith("dpkg: error"))]))


def _held(said: Sequence[str]) -> list[str]:
    """Return the packages on hold that apt would have to change."""
    found = re.search(r"held packages will be changed:\n((?: +.*\n)+)", said[-1]) if said else None
    return [" ".join(found[1].split())] if found else []


class _MaskedUnits:
    """Mask units that do not exist yet. The masks are in /run, so that a reboot removes them at the latest."""

    def __init__(self, units: Iterable[str]) -> None:
        self._units = [name for name, fact in show(list(units)).items() if fact["LoadState"] == "not-found"]
        self._links = [os.path.join(RUNTIME_UNITS, name) for name in self._units]

    def __enter__(self) -> None:
        if not self._links:
            return
        os.makedirs(RUNTIME_UNITS, exist_ok=True)
        for link in self._links:
            os.symlink("/dev/null", link)
        run(["systemctl", "daemon-reload"])

    def __exit__(self, *error: object) -> None:
        for link in self._links:
            os.unlink(link)
        if self._links:
            run(["systemctl", "daemon-reload"])
