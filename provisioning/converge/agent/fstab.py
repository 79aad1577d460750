"""Lines of /etc/fstab, found by their source."""

from __future__ import annotations

from .paths import write_file

FSTAB = "/etc/fstab"


def find_line(source: str) -> str:
    """Return the line of `source`, or an empty string."""
    return next((line for line in _lines() if line.split()[:1] == [source]), "")


def put_line(line: str) -> None:
    """Replace the line with the same source, or add this one."""
    source = line.split()[:1]
    kept = [old for old in _lines() if old.split()[:1] != source]
    write_file(FSTAB, ("\n".join([*kept, line]) + "\n").encode())


def _lines() -> list[str]:
    try:
        with open(FSTAB, encoding="utf-8") as stream:
            return stream.read().splitlines()
    except FileNotFoundError:
        return []
