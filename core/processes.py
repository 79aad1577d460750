"""Linux processes, identified by pid, start time and boot, so a new process with the same pid is not taken for it."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

SESSION_FIELD = 3
START_TIME_FIELD = 19
"""Index of the start time, in clock ticks since boot, among the fields of /proc/PID/stat after the name (proc(5))."""


def boot_id() -> str:
    """Return the kernel's ID of the current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    """One process of this host, in one boot."""

    pid: int
    start_ticks: int
    boot: str

    @classmethod
    def parse(cls, line: str) -> "Process | None":
        """Return the process that a line `PID START BOOT` names; None if the line has another form."""
        words = line.split()
        try:
            return cls(pid=int(words[0]), start_ticks=int(words[1]), boot=words[2])
        except (IndexError, ValueError):
            return None

    @classmethod
    def of_pid(cls, pid: int) -> "Process | None":
        """Return the running process with this pid; None if there is none or it is a zombie."""
        fields = _stat(pid)
        if fields is None or fields[0] in "ZX":
            return None
        return cls(pid=pid, start_ticks=int(fields[START_TIME_FIELD]), boot=boot_id())

    def __str__(self) -> str:
        return f"{self.pid} {self.start_ticks} {self.boot}"

    def is_running(self) -> bool:
        """Return whether this process still runs; a new process with the same pid does not count."""
        return Process.of_pid(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process; do nothing if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle always refers to the same process, so the signal cannot reach another one after the check.
            if self.is_running():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def session_members(self) -> "list[Process]":
        """Return the running processes of the session that this process started, without the process itself.

        They can outlive it, and the kernel does not reuse its pid until they have ended. Processes that started their
        own session, such as those in a machine, are not included.
        """
        if self.boot != boot_id():
            return []
        leader = Process.of_pid(self.pid)
        if leader is not None and leader != self:
            return []  # the whole session has ended, and another process has this pid
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
    return stat.rpartition(")")[2].split()  # the name before it may contain spaces and brackets
