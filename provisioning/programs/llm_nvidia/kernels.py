"""For which kernel a module is built, and the packages of headers that this takes.

With the meta package of headers among them, each later kernel comes with its headers: no update loses the module.
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
    """Return the kernel and its packages; nothing when there are headers for none.

    The kernel is the running one, or, when its headers have left apt's lists, the newest other one that is installed:
    the host then runs it after a reboot.
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
    """Return the meta packages of headers: those of the installed kernels', else the one of `kernel`'s flavour."""
    found = sorted(match[1] for match in map(META.match, installed) if match)
    flavour = re.sub(r"^[\d.]+(?:[+~][\w.]+)?-[\d.]+(?:[+~][\w.]+)?-", "", kernel)
    return [f"linux-headers-{name}" for name in found or [flavour]]


def frozen(names: Iterable[str], installed: Iterable[str], held: Iterable[str]) -> list[str]:
    """Return those of `names` that are installed and on hold: `apt-get -y` refuses to touch them, and ends with 100.

    Who freezes the kernel holds its headers as well, and those that are there will do.
    """
    kept = set(installed) & set(held)
    return [name for name in names if name in kept]


def in_apt(package: str) -> bool:
    """Return whether apt can install a package."""
    return bool(candidate(package))


def candidate(package: str) -> str:
    """Return the version of a package that apt would install; nothing when it has none."""
    found = re.search(r"Candidate: (?!\(none\))(\S+)", output("apt-cache", "policy", package))
    return found[1] if found else ""
