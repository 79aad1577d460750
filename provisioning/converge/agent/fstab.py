"""Lines of /etc/fstab, found by their mount point or, for swap, by their source."""

from __future__ import annotations

from .paths import write_file

FSTAB = "/etc/fstab"
SOURCE, MOUNT_POINT = 0, 1


def find_line(value: str, field: int) -> str:
    """Return the line in which `field` is `value`, or nothing."""
    return next((line for line in _lines() if _matches(line, value, field)), "")


def put_line(line: str, field: int) -> None:
    """Replace the line with the same `field`, or add this one."""
    value = line.split()[field]
    kept = [old for old in _lines() if not _matches(old, value, field)]
    write_file(FSTAB, ("\n".join([*kept, line]) + "\n").encode())


def _lines() -> list[str]:
    try:
        with open(FSTAB, encoding="utf-8") as stream:
            return stream.read().splitlines()
    except FileNotFoundError:
        return []


def _matches(line: str, value: str, field: int) -> bool:
    words = line.split()
    return len(words) > field and not words[0].startswith("#") and words[field] == value
