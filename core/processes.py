"""One process told apart from all others, also from a later one with the same number (Linux: /proc)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class ProcessMark:
    """A process by its number and the moment it started, in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the mark of the process that has number `pid` now; None when there is none."""
        seen = _stat(pid)
        return None if seen is None else cls(pid, int(seen[19]))

    def alive(self) -> bool:
        """Return whether this very process still runs; one that ended and was not waited for does not."""
        seen = _stat(self.pid)
        return seen is not None and int(seen[19]) == self.started and seen[0] not in ("Z", "X")


def session_members(session: int) -> list[ProcessMark]:
    """Return the processes of the session that process `session` opened, itself included, zombies not."""
    members = []
    for entry in Path("/proc").iterdir():
        seen = _stat(int(entry.name)) if entry.name.isdigit() else None
        if seen is not None and int(seen[3]) == session and seen[0] not in ("Z", "X"):
            members.append(ProcessMark(int(entry.name), int(seen[19])))
    return members


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third on (state, parent, group, session, …), or None."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return line[line.rindex(")") + 2 :].split()
