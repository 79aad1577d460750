"""Runs commands on this host, and reports how they failed. Does not know machines."""

import os
import subprocess
from collections.abc import Sequence
from typing import IO

from core.errors import HostError

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""Environment of the host's programs: `nft` and `ip` are in sbin, and no secret of the caller is passed on."""

MAX_SHOWN_CHARS = 120


def run(*argv: str, stdin: str = "", timeout_s: float = 60) -> str:
    """Return what the command writes to stdout. Raises HostError with its stderr when it fails or takes too long."""
    try:
        done = subprocess.run(
            argv, input=stdin, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise HostError(f"there is no program {argv[0]}", where=shown(argv)) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"took longer than {timeout_s:g} s", where=shown(argv)) from error
    if done.returncode:
        raise HostError(f"ended with status {done.returncode}", where=shown(argv), detail=done.stderr.strip())
    return done.stdout


def succeeds(*argv: str) -> bool:
    """Return whether the command exits with 0. Drops its output."""
    return subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=False).returncode == 0


def run_detached(argv: Sequence[str], *, output: IO[bytes]) -> None:
    """Start a command in a new session. It outlives this process and is not its child."""
    subprocess.run(
        ("setsid", "--fork", *argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ENVIRONMENT, check=True
    )


def shown(argv: Sequence[str]) -> str:
    """Return the command as one short line for a message."""
    line = " ".join(argv)
    return line if len(line) <= MAX_SHOWN_CHARS else line[: MAX_SHOWN_CHARS - 1] + "…"


def is_root() -> bool:
    """Return whether this process may create machines."""
    return os.geteuid() == 0
