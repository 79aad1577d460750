#!/usr/bin/env python3
"""Print the kernel that a module should be built for, and the packages of headers that this takes. Installs nothing.

    kernel-headers ROOT

ROOT stands for / in paths of the kernel. The kernel is the running one, or, when its headers have left apt's lists, the
newest other one that is installed: the host then runs it after a reboot. With the meta package of headers among them,
each later kernel comes with its headers, so that no update loses the module. Exits 1 when no kernel has headers.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IMAGE = re.compile(r"linux-image-(?:unsigned-)?(\d.*?)(?<!-dbg)$")
META = re.compile(r"linux-image-(?!\d|unsigned-|extra-)(.*?)(?<!-dbg)$")


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def metas(kernel: str, installed: Iterable[str]) -> list[str]:
    """Return the meta packages of headers: those of the installed kernels', else the one of `kernel`'s flavour."""
    found = sorted(match[1] for match in map(META.match, installed) if match)
    flavour = re.sub(r"^[\d.]+(?:[+~][\w.]+)?-[\d.]+(?:[+~][\w.]+)?-", "", kernel)
    return [f"linux-headers-{name}" for name in found or [flavour]]


def kernels(running: str, installed: Iterable[str]) -> list[str]:
    """Return the running kernel, then the other installed ones, newest first."""
    others = {match[1] for match in map(IMAGE.match, installed) if match} - {running}
    return [running, *sorted(others, key=numbers, reverse=True)]


def choose(
    running: str, installed: Iterable[str], has_headers: Callable[[str], bool], in_apt: Callable[[str], bool]
) -> list[str]:
    """Return the kernel and its packages; nothing when there are headers for none."""
    installed = list(installed)
    for kernel in kernels(running, installed):
        exact = f"linux-headers-{kernel}"
        if in_apt(exact) or has_headers(kernel):
            return [kernel, *(name for name in (exact, *metas(kernel, installed)) if in_apt(name))]
    return []


def in_apt(package: str) -> bool:
    """Return whether apt can install a package."""
    policy = subprocess.run(["apt-cache", "policy", package], stdout=subprocess.PIPE, text=True, check=True).stdout
    return bool(re.search(r"Candidate: (?!\(none\))", policy))


def main(root: str) -> int:
    """Print them; return the exit status."""
    listing = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"]
    rows = subprocess.run(listing, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    installed = [row.split()[1] for row in rows if row.startswith("installed ")]
    running = Path(root, "proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
    chosen = choose(running, installed, lambda kernel: Path(root, "lib/modules", kernel, "build").is_dir(), in_apt)
    print(" ".join(chosen))
    return 0 if chosen else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
