"""What this host's systemd is asked for, with `systemctl` and `systemd-run` that write down how they were called."""

import os
from pathlib import Path

import pytest

from core.errors import HostError
from core.processes import Process
from infra.clouds.local.parts import host
from infra.clouds.local.parts.record import MachineRecord
from infra.clouds.local.parts.runner import SystemdRunner

ID = "0123abcd"
UNIT = f"llm-{ID}.service"
MACHINE = MachineRecord(
    id=ID, owner="/checkout/.state", stack="local", name="local-1", memory_mib=1536, cpus=1.5, public_keys=()
)

PROGRAM = """\
#!/bin/sh
printf '%s\\n' "${0##*/}" "$@" END >> "$FOLDER/calls"
for word; do
    case $word in
    --property=ActiveState | --property=ControlGroup | list-units) cat "$FOLDER/${word#--property=}" ;;
    esac
done
"""


class Systemd:
    """A systemd of files: what it would answer, and how it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answers(self, question: str, text: str) -> None:
        """From now on `question` (`ActiveState`, `ControlGroup` or `list-units`) is answered by `text`."""
        (self.folder / question).write_text(text)

    def calls(self) -> list[list[str]]:
        """Return every command line so far, in order."""
        calls = (self.folder / "calls").read_text().split("END\n")
        return [call.splitlines() for call in calls if call]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    for name in ("systemctl", "systemd-run"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setitem(host.ENVIRONMENT, "PATH", f"{tmp_path}:{host.ENVIRONMENT['PATH']}")
    monkeypatch.setitem(host.ENVIRONMENT, "FOLDER", str(tmp_path))
    found = Systemd(tmp_path)
    found.answers("list-units", "")
    found.answers("ControlGroup", "\n")
    return found


def test_a_machine_starts_as_a_limited_unit_that_comes_back_after_a_reboot_only(systemd: Systemd) -> None:
    SystemdRunner().start(MACHINE, ["systemd-nspawn", "--boot", "--machine=x"])
    reset, start = systemd.calls()

    assert reset == ["systemctl", "reset-failed", UNIT]
    split = start.index("--")
    assert start[split + 1 :] == ["systemd-nspawn", "--boot", "--machine=x"]
    properties = [word.removeprefix("--property=") for word in start[:split] if word.startswith("--property=")]
    assert properties == [
        "MemoryMax=1536M", "MemorySwapMax=0", "CPUQuota=150%", "TasksMax=16384", "Delegate=yes", "KillMode=mixed",
        "RestartForceExitStatus=133", "RestartSec=100ms", "SuccessExitStatus=133",
        f"StandardOutput=append:{MACHINE.log_file}", f"StandardError=append:{MACHINE.log_file}",
    ]  # fmt: skip
    assert [word for word in start[:split] if not word.startswith("--property=")] == [
        "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--slice=machine.slice",
        "--description=llm-deploy machine local-1",
    ]  # fmt: skip


def test_a_unit_that_systemd_refuses_is_reported_in_its_words(systemd: Systemd) -> None:
    (systemd.folder / "systemd-run").write_text("#!/bin/sh\necho 'Unknown assignment: CPUQuota' >&2\nexit 1\n")
    with pytest.raises(HostError, match=r"systemd-run --quiet .*ended with status 1") as refused:
        SystemdRunner().start(MACHINE, ["true"])
    assert refused.value.detail == "Unknown assignment: CPUQuota"


@pytest.mark.parametrize(
    ("state", "running"),
    [
        pytest.param("active", True, id="up"),
        pytest.param("activating", True, id="between two boots"),
        pytest.param("reloading", True, id="reloading"),
        pytest.param("deactivating", False, id="ending"),
        pytest.param("inactive", False, id="never started"),
        pytest.param("failed", False, id="failed"),
    ],
)
def test_a_machine_runs_also_between_two_boots(systemd: Systemd, state: str, running: bool) -> None:
    systemd.answers("ActiveState", f"{state}\n")
    assert SystemdRunner().is_running(MACHINE) is running
    assert systemd.calls() == [["systemctl", "show", "--property=ActiveState", "--value", UNIT]]


def test_limits_of_a_running_unit_are_set_until_the_host_reboots(systemd: Systemd) -> None:
    SystemdRunner().limit(MACHINE)
    assert systemd.calls() == [
        ["systemctl", "set-property", "--runtime", UNIT, "MemoryMax=1536M", "CPUQuota=150%"],
    ]


def test_a_known_unit_is_killed_stopped_and_forgotten(systemd: Systemd) -> None:
    systemd.answers("list-units", f"{UNIT} loaded active running llm-deploy machine local-1\n")
    SystemdRunner().stop(ID)
    assert systemd.calls()[1:] == [
        ["systemctl", "kill", "--kill-whom=all", "--signal=SIGKILL", UNIT],
        ["systemctl", "stop", UNIT],
        ["systemctl", "reset-failed", UNIT],
    ]


def test_nothing_is_done_to_a_unit_that_systemd_does_not_know(systemd: Systemd) -> None:
    systemd.answers("list-units", "llm-ffffffff.service loaded active running llm-deploy machine other\n")
    SystemdRunner().stop(ID)
    (only,) = systemd.calls()
    assert only[:2] == ["systemctl", "list-units"]


@pytest.mark.parametrize("tree", [".", "unified"])
def test_processes_of_all_groups_of_the_unit_are_found(systemd: Systemd, tmp_path: Path, tree: str) -> None:
    systemd.answers("ControlGroup", f"/machine.slice/{UNIT}\n")
    inner = tmp_path / "cgroup" / tree / "machine.slice" / UNIT / "payload"
    inner.mkdir(parents=True)
    (inner / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert SystemdRunner(tmp_path / "cgroup").processes(ID) == [Process.of_pid(os.getpid())]


def test_a_group_that_vanishes_while_it_is_read_has_no_processes(systemd: Systemd, tmp_path: Path) -> None:
    systemd.answers("ControlGroup", f"/machine.slice/{UNIT}\n")
    group = tmp_path / "cgroup/machine.slice" / UNIT
    (group / "payload").mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (group / "payload/cgroup.procs").symlink_to("gone")  # listed, and not there when it is opened
    assert SystemdRunner(tmp_path / "cgroup").processes(ID) == [Process.of_pid(os.getpid())]


def test_a_unit_without_a_group_has_no_processes(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")  # the host's own, which an empty path would name
    assert SystemdRunner(tmp_path).processes(ID) == []
    assert len(systemd.calls()) == 1


def test_remains_are_units_and_their_processes(systemd: Systemd, tmp_path: Path) -> None:
    systemd.answers("list-units", f"{UNIT} loaded failed failed llm-deploy machine local-1\n\n")
    systemd.answers("ControlGroup", f"/machine.slice/{UNIT}\n")
    group = tmp_path / "machine.slice" / UNIT
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert SystemdRunner(tmp_path).remains() == [(ID, f"unit {UNIT}"), (ID, f"process {os.getpid()}")]


def test_nothing_remains_on_a_host_without_units(systemd: Systemd) -> None:
    assert SystemdRunner().remains() == []
    assert len(systemd.calls()) == 1
