"""The kernel to build a module for, and the header packages that the build needs.

They include the headers' meta package. Each later kernel then comes with its headers, so no update loses the module.
"""

from __future__ import annotations

import re

from .host import numbers, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IMAGE = re.compile(r"linux-image-(?:unsigned-)?(\d.*?)(?<!-dbg)$")
META = re.compile(r"linux-image-(?!\d|unsigned-|extra-)(.*?)(?<!-dbg)$")


def choose(
    running: str, installed: Iterable[str], has_headers: Callable[[str], bool], in_apt: Callable[[str], bool]
) -> list[str]:
    """Return the kernel and its packages; empty if no kernel has headers.

    The kernel is the running one. If apt no longer has its headers, it is the newest other installed one: the host then
    runs it after a reboot.
    """
    installed = list(installed)
    for kernel in kernels(running, installed):
        exact = f"linux-headers-{kernel}"
        if in_apt(exact) or has_headers(kernel):
            return [kernel, *(name for name in (exact, *metas(kernel, installed)) if in_apt(name))]
    return []


def kernels(running: str, installed: Iterable[str]) -> list[str]:
    """Return the running kernel, then the other installed ones, newest first."""
    others = {match[1] for match in map(IMAGE.match, installed) if match} - {running}
    return [running, *sorted(others, key=numbers, reverse=True)]


def metas(kernel: str, installed: Iterable[str]) -> list[str]:
    """Return the headers' meta packages: those of the installed kernels, else the one of `kernel`'s flavour."""
    found = sorted(match[1] for match in map(META.match, installed) if match)
    flavour = re.sub(r"^[\d.]+(?:[+~][\w.]+)?-[\d.]+(?:[+~][\w.]+)?-", "", kernel)
    return [f"linux-headers-{name}" for name in found or [flavour]]


def frozen(names: Iterable[str], installed: Iterable[str], held: Iterable[str]) -> list[str]:
    """Return the packages of `names` that are installed and on hold: `apt-get -y` refuses to change them (status 100).

    Users who hold the kernel also hold its headers; the installed ones are good enough.
    """
    kept = set(installed) & set(held)
    return [name for name in names if name in kept]


def in_apt(package: str) -> bool:
    """Return whether apt can install a package."""
    return bool(candidate(package))


def candidate(package: str) -> str:
    """Return the version of a package that apt would install; empty if there is none."""
    found = re.search(r"Candidate: (?!\(none\))(\S+)", output("apt-cache", "policy", package))
    return found[1] if found else ""
