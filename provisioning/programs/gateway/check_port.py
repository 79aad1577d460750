#!/usr/bin/env python3
"""Report who listens on a TCP port, if it is not the expected unit. Changes nothing.

    check-port PORT UNIT [WAY_OUT]

Exits 0 if the port is free or UNIT listens on it; otherwise prints the program, its process and its unit.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

OWNER = re.compile(r'\("(?P<program>[^"]*)",pid=(?P<pid>\d+)')


def owners(listing: str) -> list[tuple[str, str]]:
    """Return (program, process id) of each listener in `listing`, the output of ss."""
    return sorted(set(OWNER.findall(listing)))


def unit_of(cgroups: str) -> str:
    """Return the innermost unit that /proc/PID/cgroup names; an empty string if there is none."""
    units = re.findall(r"/([^/\n]+\.(?:service|scope|socket))(?=[/\n]|$)", cgroups)
    return units[-1] if units else ""


def read_unit(pid: str) -> str:
    """Return the unit of process `pid`."""
    try:
        return unit_of(Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return ""  # it has just ended


def main(port: str, unit: str, way_out: str = ", or set gateway.port") -> int:
    """Look; return the exit status. `way_out`: what helps besides ending the other program."""
    listing = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], stdout=subprocess.PIPE, text=True, check=True).stdout
    others = [(program, pid, found) for program, pid in owners(listing) for found in [read_unit(pid)] if found != unit]
    if not others and not (listing.strip() and not owners(listing)):
        return 0
    names = ", ".join(f"{program} (process {pid}{', ' + found if found else ''})" for program, pid, found in others)
    print(f"port {port} is in use by {names or 'an unknown program'}; stop it{way_out}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
