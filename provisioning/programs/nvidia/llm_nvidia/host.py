"""Running programs, and reading and replacing small files. Knows nothing of drivers."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path


class RefusedError(Exception):
    """The driver cannot be installed here; the text says why, and what helps."""


def text(path: Path) -> str:
    """Return the content of a small file; empty if it is missing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def write(path: Path, content: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(f"{path}.new")
    new.write_text(content, encoding="utf-8")
    new.replace(path)


def output(*argv: str) -> str:
    """Return a program's output; empty if it fails or is missing."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def finish(*argv: str) -> int:
    """Run a program to its end, even if this program is stopped meanwhile: half a package change is worse."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, start_new_session=True, check=False).returncode


def said(*argv: str) -> tuple[int, str]:
    """Run a program to its end, even if this program is stopped meanwhile; return its status and output.

    Its output goes to an unnamed file, not through a pipe: a broken pipe would end it.
    """
    with tempfile.TemporaryFile() as written:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,
        )
        written.seek(0)
        words = written.read().decode(errors="replace")
    sys.stdout.write(words)
    sys.stdout.flush()
    return done.returncode, words


def must(*argv: str) -> None:
    """Run a program to its end. If it fails, print its output and raise RefusedError."""
    status = finish(*argv)
    if status:
        raise RefusedError(f"`{' '.join(argv)[:80]}` ended with status {status}")


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
