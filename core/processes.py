"""Processes told apart by pid, start time and boot, so that a pid used again is never taken for the old one (Linux)."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

SESSION_FIELD = 3
START_TIME_FIELD = 19
"""Index of the start time, in clock ticks since boot, among the fields of /proc/PID/stat after the name (proc(5))."""


def boot_id() -> str:
    """Return what tells this boot of the host from every other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    """One process of one boot of this host."""

    pid: int
    start_ticks: int
    boot: str

    @classmethod
    def parse(cls, line: str) -> "Process | None":
        """Return the process that a line `PID START BOOT` names; None when it is no such line."""
        words = line.split()
        try:
            return cls(pid=int(words[0]), start_ticks=int(words[1]), boot=words[2])
        except (IndexError, ValueError):
            return None

    @classmethod
    def of_pid(cls, pid: int) -> "Process | None":
        """Return the running process with this pid; None when there is none, or it has ended and waits to be reaped."""
        fields = _stat(pid)
        if fields is None or fields[0] in "ZX":
            return None
        return cls(pid=pid, start_ticks=int(fields[START_TIME_FIELD]), boot=boot_id())

    def __str__(self) -> str:
        return f"{self.pid} {self.start_ticks} {self.boot}"

    def is_running(self) -> bool:
        """Return whether this very process still runs."""
        return Process.of_pid(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing happens when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle keeps pointing at one process, so looking now and sending then cannot hit another one.
            if self.is_running():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def session_members(self) -> "list[Process]":
        """Return the running processes of the session that this process opened, itself not.

        They outlive it, and keep its pid from being used again. Processes that opened a session of their own, as those
        of a machine do, are not among them.
        """
        if self.boot != boot_id():
            return []
        leader = Process.of_pid(self.pid)
        if leader is not None and leader != self:
            return []  # all of this session ended, and the number was given to another process
        members = []
        for entry in Path("/proc").iterdir():
            pid = int(entry.name) if entry.name.isdigit() else self.pid
            fields = None if pid == self.pid else _stat(pid)
            if fields is None or fields[0] in "ZX" or int(fields[SESSION_FIELD]) != self.pid:
                continue
            member = Process(pid, int(fields[START_TIME_FIELD]), self.boot)
            if member.start_ticks >= self.start_ticks:
                members.append(member)
        return members


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name: state, parent, group, session, …; None without a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
