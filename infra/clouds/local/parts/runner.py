"""Keeps a machine running: with our supervisor and control groups, or with this host's systemd.

A runner starts nspawn, starts it again when the machine reboots, enforces the limits, and stops everything. It creates
no network and writes no file of the machine.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Protocol

from core.errors import HostError
from core.processes import Process
from core.waiting.condition import wait_until
from core.waiting.deadline import Deadline
from infra.clouds.local.parts import host
from infra.clouds.local.parts.limits import MOUNT, Groups, known_ids, processes_below
from infra.clouds.local.parts.record import MachineRecord

SUPERVISE = Path(__file__).with_name("supervise.sh")
REBOOT_STATUS = 133
"""Exit status of nspawn when the machine reboots and --keep-unit leaves the restart to us."""

START_DEADLINE_S = 10.0
KILL_DEADLINE_S = 10.0
POLL_S = 0.02


class Runner(Protocol):
    """How machines run on this host."""

    def start(self, machine: MachineRecord, command: list[str]) -> None:
        """Start the machine, detached from this process."""

    def is_running(self, machine: MachineRecord) -> bool:
        """Return whether the machine runs, or is being started again after a reboot."""

    def limit(self, machine: MachineRecord) -> None:
        """Apply the record's memory and CPU limits to the running machine."""

    def stop(self, identity: str) -> None:
        """End all processes of the machine. Does nothing if there are none."""

    def processes(self, identity: str) -> list[Process]:
        """Return the running processes of the machine, with its supervisor."""

    def remains(self) -> list[tuple[str, str]]:
        """Return the id and a line for every control group or unit, and each process in it, of all machines."""


def runner() -> Runner:
    """Return the runner for this host."""
    return SystemdRunner() if Path("/run/systemd/system").is_dir() else SupervisorRunner()


class SupervisorRunner:
    """Our supervisor, for hosts without systemd."""

    def start(self, machine: MachineRecord, command: list[str]) -> None:
        """Start supervise.sh in a new session and wait for its pid file."""
        groups = Groups(machine.id)
        groups.make(memory_mib=machine.memory_mib, cpus=machine.cpus)
        machine.pid_file.unlink(missing_ok=True)
        with machine.log_file.open("ab") as log:
            host.run_detached([str(SUPERVISE), str(machine.pid_file), *groups.arguments(), "--", *command], output=log)
        wait_until(
            lambda: machine.pid_file.exists() or None,
            deadline_s=START_DEADLINE_S,
            late=lambda: HostError("the supervisor did not start", where=machine.name, detail=tail(machine.log_file)),
            pause_s=POLL_S,
        )

    def is_running(self, machine: MachineRecord) -> bool:
        """Return whether the supervisor that wrote the pid file still runs."""
        try:
            process = Process.parse(machine.pid_file.read_text())
        except FileNotFoundError:
            return False
        return process is not None and process.is_running()

    def limit(self, machine: MachineRecord) -> None:
        """Write the limits into the machine's groups."""
        Groups(machine.id).make(memory_mib=machine.memory_mib, cpus=machine.cpus)

    def stop(self, identity: str) -> None:
        """Kill the processes of the machine's groups until none remains, then remove the groups."""
        end = Deadline.after(KILL_DEADLINE_S)
        # One pass may miss what a reboot has just started; the next one finds it.
        while processes := self.processes(identity):
            for process in processes:
                process.send(SIGKILL)
            if not end.left_s():
                pids = ", ".join(str(process.pid) for process in processes)
                raise HostError(f"processes {pids} do not end", where=identity)
            time.sleep(POLL_S)
        Groups(identity).remove()

    def processes(self, identity: str) -> list[Process]:
        """Return the processes in the machine's control groups."""
        return Groups(identity).processes()

    def remains(self) -> list[tuple[str, str]]:
        """Return the groups that exist, and their processes."""
        ids = known_ids()
        groups = [(each, f"control group {folder}") for each in ids for folder in Groups(each).remains()]
        return groups + [(each, f"process {process.pid}") for each in ids for process in self.processes(each)]


@dataclass(frozen=True)
class SystemdRunner:
    """A transient unit of this host's systemd."""

    mount: Path = MOUNT

    def start(self, machine: MachineRecord, command: list[str]) -> None:
        """Start the unit; systemd starts it again when the machine reboots, and only then."""
        host.succeeds("systemctl", "reset-failed", unit(machine.id))
        properties = [
            f"MemoryMax={machine.memory_mib}M", "MemorySwapMax=0", f"CPUQuota={machine.cpus:.0%}", "TasksMax=16384",
            "Delegate=yes", "KillMode=mixed", f"RestartForceExitStatus={REBOOT_STATUS}", "RestartSec=100ms",
            f"SuccessExitStatus={REBOOT_STATUS}", f"StandardOutput=append:{machine.log_file}",
            f"StandardError=append:{machine.log_file}",
        ]  # fmt: skip
        host.run(
            "systemd-run", "--quiet", "--collect", f"--unit={unit(machine.id)}", "--slice=machine.slice",
            f"--description=llm-deploy machine {machine.name}", *(f"--property={value}" for value in properties),
            "--", *command,
        )  # fmt: skip

    def is_running(self, machine: MachineRecord) -> bool:
        """Return whether the unit is active, or about to be restarted."""
        state = host.run("systemctl", "show", "--property=ActiveState", "--value", unit(machine.id)).strip()
        return state in ("active", "activating", "reloading")

    def limit(self, machine: MachineRecord) -> None:
        """Set the unit's limits while it runs."""
        host.run("systemctl", "set-property", "--runtime", unit(machine.id), f"MemoryMax={machine.memory_mib}M",
                 f"CPUQuota={machine.cpus:.0%}")  # fmt: skip

    def stop(self, identity: str) -> None:
        """Kill the unit's processes and wait until systemd no longer lists the unit."""
        if unit(identity) in self._units():
            host.succeeds("systemctl", "kill", "--kill-whom=all", "--signal=SIGKILL", unit(identity))
            host.succeeds("systemctl", "stop", unit(identity))
            host.succeeds("systemctl", "reset-failed", unit(identity))

    def processes(self, identity: str) -> list[Process]:
        """Return the processes in the unit's control group."""
        group = host.run("systemctl", "show", "--property=ControlGroup", "--value", unit(identity)).strip()
        if not group:
            return []
        return processes_below(tree / group.lstrip("/") for tree in (self.mount, self.mount / "unified"))

    def remains(self) -> list[tuple[str, str]]:
        """Return the units that systemd knows, and their processes."""
        ids = [name.removeprefix("llm-").removesuffix(".service") for name in self._units()]
        processes = [(each, f"process {process.pid}") for each in ids for process in self.processes(each)]
        return [(each, f"unit {unit(each)}") for each in ids] + processes

    def _units(self) -> list[str]:
        pattern = "llm-" + "[0-9a-f]" * 8 + ".service"
        lines = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern).splitlines()
        return [line.split()[0] for line in lines if line.strip()]


def unit(identity: str) -> str:
    """Return the name of the machine's transient unit."""
    return f"llm-{identity}.service"


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error. Empty: there is no log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
