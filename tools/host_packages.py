"""Debian packages that this computer needs, mostly for local machines: installed with apt if possible.

Installs nothing for a user who is not root, or on a system without apt: the error then names the packages.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.console import say, step
from core.errors import UsageError

DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

PACKAGE_OF = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "setsid": "util-linux",
    DEBIAN_KEYRING: "debian-archive-keyring",
}
"""A program on PATH or a file, and its Debian package."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_host_packages() -> None:
    """Install the missing packages for local machines. Raises UsageError if this user or system cannot."""
    if os.geteuid() != 0:
        raise UsageError(
            "needs root, to create a network namespace, firewall rules and a container",
            where="cloud local",
            hint="run the command as root, e.g. with sudo -E",
        )
    ensure_packages(PACKAGE_OF, where="cloud local")


def ensure_packages(package_of: Mapping[str, str], *, where: str) -> None:
    """Install the packages whose program or file is missing. Raises UsageError if this user or system cannot."""
    missing = _missing(package_of)
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get", path=SEARCH_PATH) is None:
        raise UsageError(f"this host lacks the Debian packages {names}", where=where, hint="install them and try again")
    say(f"this host lacks {names}")
    with step(f"apt-get install {names}", once=True):
        for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *missing)):
            _apt(arguments, where=where, by_hand=names)
    if still := _missing(package_of):
        raise UsageError(
            f"apt installed {names}, yet {' '.join(still)} is missing", where=where, hint="see the lines above"
        )


def _missing(package_of: Mapping[str, str]) -> list[str]:
    """Return the packages whose program or file is missing, without duplicates."""
    return list(dict.fromkeys(package for need, package in package_of.items() if not _exists(need)))


def _exists(need: str) -> bool:
    """Return whether the program is on PATH or, for an absolute path, whether the file exists."""
    return Path(need).exists() if need.startswith("/") else shutil.which(need, path=SEARCH_PATH) is not None


def _apt(arguments: Sequence[str], *, where: str, by_hand: str) -> None:
    """Run apt-get without questions. Raises UsageError with its last lines if it fails."""
    done = subprocess.run(
        ("apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", *arguments),
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": SEARCH_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UsageError(
            f"apt-get {arguments[0]} ended with status {done.returncode}",
            where=where,
            hint=f"install by hand: apt-get install {by_hand}",
            detail="\n".join((done.stdout + done.stderr).splitlines()[-15:]),
        )
