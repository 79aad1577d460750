"""What a command imports before its first line. Unlike seconds, that is the same on a busy machine."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.paths import CHECKOUT

HEAVY = frozenset({"pulumi", "pydantic", "yaml", "cryptography", "jinja2", "rich", "grpc", "httpx"})
"""Packages that take 50 ms and more to import."""

IMPORTED = "import time:"


@dataclass(frozen=True)
class Said:
    """A command's first line, its other lines on stderr, its status, and the packages imported before the first."""

    first: str
    rest: str
    status: int
    packages: frozenset[str]


def run(command: Iterable[str], environment: Mapping[str, str] = os.environ) -> Said:
    """Run `command`, a program in Python, to its end."""
    seen = subprocess.run(
        list(command),
        cwd=CHECKOUT,
        env={**environment, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    before, said = list[str](), list[str]()
    for line in seen.stderr.splitlines():
        if not line.startswith(IMPORTED):
            said.append(line)
        elif not said:
            before.append(line.rpartition("|")[2].strip().partition(".")[0])
    return Said(said[0], "\n".join(said[1:]), seen.returncode, frozenset(before))
