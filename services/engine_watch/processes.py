"""The processes of a unit, as /proc shows them to everybody: state, processor time, who computes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
COMPUTES = ("VLLM::EngineCor", "VLLM::Worker")
"""First 15 letters of the titles that vLLM gives to the processes that compute; the others take requests."""
WAITS_FOR_PROCESSOR = frozenset("RD")
"""States of a thread that would go on if it got a processor or its page from the disk."""
STOPPED = frozenset("Tt")
AFTER_NAME = {"state": 0, "utime": 11, "stime": 12, "start": 19}
"""Places of the fields of /proc/PID/stat behind the name, which may itself have blanks and brackets."""


@dataclass(frozen=True)
class Process:
    """One process of the engine's unit."""

    pid: int
    start: int
    """Start in ticks since boot: a process id alone may be used again."""
    name: str
    state: str
    cpu_s: float
    """Processor time that all its threads used so far."""
    wants_processor: bool
    """Whether one of its threads is running, or waits for a processor or the disk."""

    @property
    def stopped(self) -> bool:
        """Whether a signal or a debugger holds it."""
        return self.state in STOPPED

    @property
    def computes(self) -> bool:
        """Whether vLLM computes in it."""
        return self.name.startswith(COMPUTES)


class UnitProcesses:
    """Finds the processes of one unit. Looks at all processes of the host only if the known ones changed."""

    def __init__(self, unit: str, proc: str = "/proc", search_every: int = 5) -> None:
        self._mark = f"/{unit}"
        self._proc = Path(proc)
        self._search_every = search_every
        self._looks = 0
        self._known: list[int] = []

    def look(self) -> tuple[Process, ...]:
        """Return the processes of the unit, the oldest first. A helper that systemd runs in it counts too."""
        found = list(self._read(self._known))
        if len(found) < len(self._known) or not found or self._looks % self._search_every == 0:
            self._known = [pid for pid in self._all() if self._in_unit(pid)]
            found = list(self._read(self._known))
        self._looks += 1
        return tuple(sorted(found, key=lambda each: (each.start, each.pid)))

    def _all(self) -> Iterator[int]:
        return (int(each.name) for each in self._proc.iterdir() if each.name.isdigit())

    def _in_unit(self, pid: int) -> bool:
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return any(f"{line}/".find(f"{self._mark}/") >= 0 for line in lines)

    def _read(self, pids: list[int]) -> Iterator[Process]:
        for pid in pids:
            folder = self._proc / str(pid)
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                tasks = [each / "stat" for each in (folder / "task").iterdir()]
                wants = any(_state(task) in WAITS_FOR_PROCESSOR for task in tasks)
                process = parse(pid, text, wants_processor=wants)
            except (OSError, ValueError, IndexError):
                continue  # it ended meanwhile
            yield process


def parse(pid: int, text: str, *, wants_processor: bool) -> Process:
    """Return the process that /proc/PID/stat describes."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    ticks = int(fields[AFTER_NAME["utime"]]) + int(fields[AFTER_NAME["stime"]])
    return Process(
        pid=pid,
        start=int(fields[AFTER_NAME["start"]]),
        name=head.partition("(")[2],
        state=fields[AFTER_NAME["state"]],
        cpu_s=ticks / TICKS,
        wants_processor=wants_processor,
    )


def _state(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def computing(processes: tuple[Process, ...]) -> tuple[Process, ...]:
    """Return the processes that compute: vLLM's own ones, or all if none has such a title."""
    return tuple(each for each in processes if each.computes) or processes
