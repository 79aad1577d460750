"""Memory and CPU limits of a machine: control groups, version 1 or 2, on hosts without systemd.

Does not limit disk or network. The groups also show which processes belong to a machine.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import HostError
from core.processes import Process
from core.waiting.deadline import Deadline

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "llm-"
CPU_PERIOD_US = 100_000
MIB = 1024 * 1024
CONTROLLERS = ("memory", "cpu")

POLL_S = 0.02


@dataclass(frozen=True)
class Groups:
    """The control groups of one machine. The value alone creates nothing."""

    identity: str
    mount: Path = MOUNT

    @property
    def version1(self) -> dict[str, Path]:
        """Group by controller, for the controllers that this host has in version 1."""
        return {
            controller: self.mount / controller / self._name
            for controller in CONTROLLERS
            if (self.mount / controller / "cgroup.procs").exists()
        }

    @property
    def version2(self) -> Path | None:
        """The group in the tree of version 2. None: this host mounts none."""
        for tree in (self.mount, self.mount / "unified"):
            if (tree / "cgroup.controllers").exists():
                return tree / self._name
        return None

    @property
    def _name(self) -> str:
        return PREFIX + self.identity

    def make(self, *, memory_mib: int, cpus: float) -> None:
        """Create missing groups and set the limits, also of a running machine."""
        for folder in self.folders():
            _make_group(folder)
        if self.version1:
            self._limit_version1(memory_mib, cpus)
        elif self.version2:
            self._limit_version2(self.version2, memory_mib, cpus)
        else:
            raise HostError("this host mounts no control groups", where=str(self.mount), hint="mount cgroup2 there")

    def arguments(self) -> list[str]:
        """Return the arguments for supervise.sh."""
        found = [word for group in self.version1.values() for word in ("--group1", str(group))]
        return found + (["--group2", str(self.version2)] if self.version2 else [])

    def processes(self) -> list[Process]:
        """Return the running processes of the machine, with its supervisor."""
        return processes_below(self.folders())

    def remains(self) -> list[Path]:
        """Return the groups that exist."""
        return [folder for folder in self.folders() if folder.exists()]

    def remove(self, *, deadline_s: float = 5.0) -> None:
        """Remove the groups, which must be empty. Raises HostError when one stays busy."""
        end = Deadline.after(deadline_s)
        for top in self.folders():
            for folder in [*sorted(top.rglob("*/"), key=lambda path: -len(path.parts)), top]:
                _remove_group(folder, end)

    def folders(self) -> list[Path]:
        """Return the top groups, whether they exist or not."""
        # On hosts with version 1, systemd mirrors the tree of version 2 under its own name.
        mirror = self.mount / "systemd" / self._name
        version2 = [self.version2] if self.version2 else []
        return [*self.version1.values(), *version2, *([mirror] if mirror.parent.is_dir() else [])]

    def _limit_version1(self, memory_mib: int, cpus: float) -> None:
        memory = self.version1.get("memory")
        if memory is not None:
            limit = str(memory_mib * MIB)
            with_swap = memory / "memory.memsw.limit_in_bytes"
            counts_swap = with_swap.exists()
            if counts_swap:  # the kernel rejects a limit above this one, so it is removed first
                _write(with_swap, "-1")
            _write(memory / "memory.limit_in_bytes", limit)
            if counts_swap:
                _write(with_swap, limit)
        if cpu := self.version1.get("cpu"):
            _write(cpu / "cpu.cfs_period_us", str(CPU_PERIOD_US))
            _write(cpu / "cpu.cfs_quota_us", str(round(cpus * CPU_PERIOD_US)))

    def _limit_version2(self, group: Path, memory_mib: int, cpus: float) -> None:
        for folder in (group.parent, group):
            _write(folder / "cgroup.subtree_control", " ".join(f"+{name}" for name in CONTROLLERS))
        _write(group / "memory.max", str(memory_mib * MIB))
        if (group / "memory.swap.max").exists():
            _write(group / "memory.swap.max", "0")
        _write(group / "cpu.max", f"{round(cpus * CPU_PERIOD_US)} {CPU_PERIOD_US}")


def processes_below(groups: Iterable[Path]) -> list[Process]:
    """Return the running processes of the groups and of all groups inside them; any of these may vanish meanwhile."""
    # os.walk skips a folder that was removed meanwhile; Path.rglob of Python 3.11 raises.
    pids = {
        int(pid)
        for group in groups
        for folder, _, files in os.walk(group)
        if "cgroup.procs" in files
        for pid in _lines(Path(folder) / "cgroup.procs")
    }
    return [process for pid in sorted(pids) if (process := Process.of_pid(pid))]


def known_ids(mount: Path = MOUNT) -> set[str]:
    """Return the ids of all machines that have a group on this host."""
    trees = [mount, *(mount / tree for tree in (*CONTROLLERS, "unified", "systemd"))]
    return {folder.name.removeprefix(PREFIX) for tree in trees for folder in tree.glob(PREFIX + "[0-9a-f]" * 8)}


def _make_group(folder: Path) -> None:
    """Create one group. Raises HostError if this host may not manage control groups, as in most containers."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise HostError(
            f"control group cannot be created ({error.strerror})",
            where=str(folder),
            hint="local machines need a host, or a container that may manage its own control groups",
        ) from error


def _write(file: Path, value: str) -> None:
    """Write one setting. Raises HostError with the kernel's reason."""
    try:
        file.write_text(value)
    except OSError as error:
        raise HostError(f"the kernel rejects {value!r} ({error.strerror})", where=str(file)) from error


def _lines(file: Path) -> list[str]:
    """Return the lines of a file that may vanish while it is read."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _remove_group(folder: Path, end: Deadline) -> None:
    """Remove one group. A killed process leaves its group a moment later."""
    while folder.exists():
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if not end.left_s():
                raise HostError(f"cannot be removed ({error.strerror})", where=str(folder)) from error
            time.sleep(POLL_S)
