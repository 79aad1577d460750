"""Finds and completes interrupted installations of packages. The driver program uses this file too.

`dpkg --configure -a` finishes unpacked packages. If dpkg was killed while it unpacked or removed a package, that
package is "in a very bad inconsistent state" (half-installed, reinstallation required). apt then refuses to work, or
fails to configure the packages that depend on it. So the archive is fetched and unpacked again without dependencies.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Call = Callable[[Sequence[str]], tuple[int, str]]
    """Runs a program to its end; returns its status and what it wrote."""

STATES = "${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\t${binary:Package}\t${Version}\n"
TORN = ("sh", "-c", 'dpkg-query -W -f "$0" | grep -e reinstreq -e half-installed', STATES)
"""Lists half-installed packages only: on a large host the list of all packages exceeds the kept output."""

KEEP_OURS = ("--force-confdef", "--force-confold")
"""Keeps configuration files that this project or the admin changed: nobody can answer dpkg's question."""

UPDATES = "/var/lib/dpkg/updates"
ASIDE = "/var/lib/llm-deploy"
UNREADABLE = re.compile(r"parsing file '" + UPDATES + r"/(\d+)'")
BUSY = re.compile(r"(frontend lock|status database area|database lock) (was|is) locked|[Uu]nable to lock|get lock")
LOCK_WAIT_S = 600
LOCK_POLL_S = 1.0

LISTS = "/var/lib/apt/lists"
CACHES = ("/var/cache/apt/pkgcache.bin", "/var/cache/apt/srcpkgcache.bin")
LISTS_TORN = re.compile(r"package lists or status file could not be parsed|Problem with MergeList|no Package: header")


def torn(listing: str) -> list[tuple[str, str, str]]:
    """Return the packages that must be unpacked again, as (wanted state, name, version); `listing` has STATES."""
    rows = (line.split("\t") for line in listing.splitlines())
    return [
        (want, name, version)
        for want, flag, status, name, version in (row for row in rows if len(row) == 5)  # noqa: PLR2004
        if flag == "reinstreq" or status == "half-installed"
    ]


def mend(call: Call, removed: Sequence[str] = ()) -> str:
    """Complete interrupted installations; return which ones could not be completed, or an empty string.

    Removes the remains of packages in `removed`, and those of an interrupted removal. Does not handle failures of other
    packages' own scripts: apt reports them.
    """
    set_updates_aside(call)
    left = []
    for want, name, version in torn(call(TORN)[1]):
        if want in ("deinstall", "purge") or name.partition(":")[0] in removed:
            dpkg(call, "--remove", "--force-remove-reinstreq", "--force-depends", name)
        elif not unpack_again(call, name, version):
            left.append(name)
    dpkg(call, "--configure", "-a")
    if not left:
        return ""
    names = " ".join(left)
    return (
        f"{names}: the installation was interrupted, and no apt source has this package; "
        f"add its source again, or run `dpkg --remove --force-remove-reinstreq --force-depends {names}`"
    )


def unpack_again(call: Call, name: str, version: str) -> bool:
    """Fetch and unpack a package's archive, in this version or else in the version that apt has now.

    Returns whether that worked.
    """
    folder = tempfile.mkdtemp(prefix="llm-deploy-debs-")
    try:
        for word in ([f"{name}={version}"] if version else []) + [name]:
            call(["sh", "-c", 'cd "$0" && exec apt-get -q download "$1"', folder, word])
            archives = [os.path.join(folder, each) for each in os.listdir(folder) if each.endswith(".deb")]
            if archives:
                return dpkg(call, "--unpack", "--force-depends", "--force-downgrade", *archives)[0] == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return False


def dpkg(call: Call, *words: str) -> tuple[int, str]:
    """Wait for other package managers to end, then run dpkg: unlike apt, it does not wait for its locks."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        status, said = call(["dpkg", *KEEP_OURS, *words])
        if status == 0 or not BUSY.search(said) or time.monotonic() > deadline:
            return status, said
        # A separate program: its output is shown as progress, so a person sees what the run waits for.
        call(["sh", "-c", 'echo "$1"; exec sleep "$0"', str(LOCK_POLL_S), f"waits: {said.strip().splitlines()[-1]}"])


def set_updates_aside(call: Call) -> None:
    """Move away unfinished updates that dpkg cannot read, e.g. half a file after the disk was full."""
    for _ in range(100):
        found = UNREADABLE.search(dpkg(call, "--audit")[1])
        if not found:
            return
        os.makedirs(ASIDE, mode=0o700, exist_ok=True)
        os.replace(f"{UPDATES}/{found[1]}", f"{ASIDE}/dpkg-update-{found[1]}")


def forget_lists() -> None:
    """Remove apt's lists, so that it fetches all of them: it cannot read incomplete ones."""
    lists = (os.path.join(LISTS, name) for name in os.listdir(LISTS) if name != "lock")
    for path in (*lists, *CACHES):
        if os.path.isfile(path):
            os.unlink(path)
