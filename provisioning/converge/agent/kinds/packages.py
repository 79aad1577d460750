"""Debian packages, in one apt transaction.

A service whose `Unit` is in the list and that does not exist yet is masked until apt is done: the distribution would
otherwise start it with its default configuration (haproxy, say) before ours is there. Other services are left alone.
"""

from __future__ import annotations

import fcntl
import glob
import os
import time

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
APT_TIMEOUT_S = 3600
LOCK_WAIT_S = 600
LOCK_POLL_S = 0.2
RUNTIME_UNITS = "/run/systemd/system"
APT = (
    "apt-get", "-y", "-q", "--no-install-recommends",
    "-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
"""Configuration files that we or the admin changed are kept: nobody is there to answer dpkg's question."""


def look(wishes: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Ask dpkg once for all sets."""
    names = sorted({name for wish in wishes for name in (*wish.present, *wish.absent)})
    query = Process(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names], dies_with_agent=False)

    def finish() -> list[Fact]:
        query.wait(LOCK_WAIT_S)
        lines = (line.split() for line in query.output().splitlines())
        seen = {words[0]: words[1] for words in lines if len(words) == 2}  # noqa: PLR2004
        query.close()
        return [{name: seen.get(name, "not-installed") for name in (*w.present, *w.absent)} for w in wishes]

    return finish


def plan(wish: Any, fact: Fact) -> list[Change]:
    """Return packages to install (also those that a cut-off run left half-configured) and to purge."""
    installs = [("install", f"install {name}") for name in wish.present if fact[name] != "installed"]
    return [*installs, *(("purge", f"purge {name}") for name in wish.absent if fact[name] != "not-installed")]


def apply(wish: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Mend what a cut-off dpkg left, fetch the lists if they are old, then install and purge in one call."""
    installs = [words.split(" ", 1)[1] for verb, words in changes if verb == "install"]
    purges = [words.split(" ", 1)[1] + "-" for verb, words in changes if verb == "purge"]

    def tick(process: Process) -> None:
        host.events.progress(wish.id, process.last_line())

    said = []

    def apt(*words: str) -> int:
        done = run([*APT, *words], timeout_s=APT_TIMEOUT_S, on_tick=tick, must_finish=True)
        said.append(done.output)
        return done.status

    _wait_for_lists()
    run(["dpkg", "--configure", "-a", "--force-confold"], timeout_s=APT_TIMEOUT_S, on_tick=tick, must_finish=True)
    if installs and _lists_are_old():
        apt("update")
    transaction = ["install", "--purge", *installs, *purges]
    with _MaskedUnits(host.units):
        status = apt(*transaction)
        if status != 0 and installs:
            apt("--fix-broken", "install")
            apt("update")
            status = apt(*transaction)
    if status != 0:
        raise Failure(_cause(said), "".join(said))


def _wait_for_lists() -> None:
    """Let an `apt-get update` that a killed run left behind end: unlike dpkg's lock, apt does not wait for this one."""
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


def _cause(said: Sequence[str]) -> str:
    """Return apt's own error line; a list that could not be fetched explains a package that is not found later."""
    lines = [line for output in said for line in output.splitlines()]
    fetches = [line for line in lines if "Failed to fetch" in line]
    errors = [line for line in lines if line.startswith(("E:", "dpkg: error"))]
    early = [line + "; the clock of the host is behind" for line in errors if "is not valid yet" in line]
    return "apt-get failed: " + next(iter([*early, *fetches, *errors]), "see its output")


class _MaskedUnits:
    """While inside, units that do not exist yet cannot be started. In /run, so that a reboot ends it at the latest."""

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
