#!/usr/bin/env python3
"""Install a Debian package from a file, with its dependencies from the host's apt sources.

    install-archive FILE NAME... [--check]

NAME: packages that FILE may be. With --check: exit with 0 if that version is installed and configured.
"""

from __future__ import annotations

import os
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

APT = (
    "apt-get", "-y", "-q", "--no-install-recommends",
    "-o", "DPkg::Lock::Timeout=600",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
"""Keeps configuration files that the admin changed: nobody can answer dpkg's question."""

ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


class RefusedError(Exception):
    """The package cannot be installed; says why."""


def output(*argv: str) -> tuple[int, str]:
    """Return a program's status and what it prints."""
    done = subprocess.run(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def fields(path: str) -> dict[str, str]:
    """Return name, version and architecture of an archive. Raises RefusedError if it is not a Debian package."""
    status, text = output("dpkg-deb", "--field", path, "Package", "Version", "Architecture")
    found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if status or not {"Package", "Version", "Architecture"} <= set(found):
        raise RefusedError(f"{path} is not a Debian package")
    return found


def installed(name: str) -> tuple[str, str]:
    """Return dpkg's state of a package, `installed` if all is well, and its version."""
    status, text = output("dpkg-query", "-W", "-f", "${db:Status-Eflag} ${db:Status-Status} ${Version}", name)
    flag, state, version = [*text.split(" "), "", "", ""][:3]
    if status:
        return "not-installed", ""
    return (state if flag == "ok" else "half-installed"), version


def refuse(found: dict[str, str], names: Sequence[str]) -> None:
    """Raise RefusedError if the archive is another program, for another processor, or older than what is installed."""
    name, version, arch = found["Package"], found["Version"], found["Architecture"]
    if name not in names:
        raise RefusedError("the file is the package {}, not {}".format(name, " or ".join(names)))
    here = output("dpkg", "--print-architecture")[1].strip()
    if arch not in ("all", here):
        raise RefusedError(f"the package is for {arch}, and this host is {here}")
    state, current = installed(name)
    if state == "installed" and output("dpkg", "--compare-versions", version, "lt", current)[0] == 0:
        raise RefusedError(f"{name} {current} is installed, and its data may not fit {version}; take a newer one")


def install(path: str, found: dict[str, str]) -> None:
    """Install the archive. A run that was cut off is completed first."""
    if installed(found["Package"])[0] not in ("installed", "not-installed", "config-files"):
        subprocess.run(["dpkg", "--force-depends", "--force-confold", "--unpack", path], env=ENVIRONMENT, check=False)
    status = _apt("install", path)
    if status:  # a mirror drops packages that its newer lists no longer have
        _apt("update")
        status = _apt("install", path)
    if status and not is_current(found):
        raise RefusedError(f"apt-get install ended with status {status}")


def _apt(*words: str) -> int:
    return subprocess.run([*APT, *words], env=ENVIRONMENT, check=False).returncode


def is_current(found: dict[str, str]) -> bool:
    """Return whether the archive's version is installed and configured."""
    return installed(found["Package"]) == ("installed", found["Version"])


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    check = "--check" in arguments
    path, *names = [word for word in arguments if word != "--check"]
    try:
        found = fields(path)
        if check:
            return 0 if is_current(found) else 1
        refuse(found, names)
        install(path, found)
    except RefusedError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
