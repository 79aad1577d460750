"""Each kind of resource on a real machine: created, found correct, repaired after a drift, shown in a dry run."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import (
    Command,
    Directory,
    File,
    GeneratedSecret,
    Link,
    Packages,
    Resource,
    Secret,
    Sysctl,
    Tree,
    Unit,
    User,
    Venv,
)
from provisioning.converge.result import Progress
from tests.machine.converge_host import Seen, bring, remote
from tests.machine.machines import making_machines

UNIT = """\
[Unit]
Description=Test of converge
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""

LOCK = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"

UV = "/opt/uv/uv"


@pytest.fixture(scope="session")
def uv_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The uv of this environment, as a tree that a host gets."""
    folder = tmp_path_factory.mktemp("uv")
    program = Path(__file__).parents[2] / ".venv" / "bin" / "uv"
    shutil.copy2(program, folder / "uv")
    return Tree(path="/opt/uv", source=folder)


def one_of_each(uv_tree: Tree) -> list[Resource]:
    """Return a list with every kind of resource that a container can have."""
    unit = File(path="/etc/systemd/system/cv.service", content=UNIT, check=("systemd-analyze", "verify", "{path}"))
    return [
        Packages(name="cv", present=("tree", "haproxy"), absent=("nano",)),
        User(name="cv", home="/var/lib/cv", groups=("video",)),
        Directory(path="/etc/cv", owner="cv", group="cv", mode=0o750),
        File(path="/etc/cv/conf", content="one\n", owner="root", group="cv", mode=0o640),
        File(path="/etc/cv/token", content=Secret("t0ken-of-the-test"), mode=0o600),
        File(path="/etc/cv/gone", content=None),
        GeneratedSecret(path="/etc/cv/key", template="KEY={secret}\n"),
        Link(path="/etc/cv/link", target="conf"),
        Sysctl(name="net.ipv4.tcp_keepalive_time", value="1234"),
        unit,
        Unit(name="cv.service", restart_on=(unit.id, "file:/etc/cv/conf"), ready=("test", "-e", "/etc/cv/key")),
        Unit(name="haproxy.service", enabled=False, running=False),
        uv_tree,
        Venv(path="/opt/cv/venv", lock=LOCK, uv=UV, after=(uv_tree.id,)),
        Command(name="cv", argv=("touch", "/etc/cv/done"), creates="/etc/cv/done", user="cv", after=("user:cv",)),
    ]


@dataclass(frozen=True)
class Kinds:
    """A machine with one of each kind, and its first runs."""

    host: HostRecord
    planned: Seen
    after_plan: str
    first: Seen


@pytest.fixture(scope="module")
def kinds(machine_state: Path, uv_tree: Tree) -> Iterator[Kinds]:
    """A machine for the tests of all kinds: nothing is on it before the dry run."""
    with making_machines(machine_state) as make:
        host = make("kinds")
        # nspawn mounts it read-only, although the network settings are the machine's own.
        remote(host, "mount -o remount,bind,rw /proc/sys")
        planned = bring(host, one_of_each(uv_tree), dry_run=True)
        after_plan = remote(host, "ls -d /etc/cv /opt/cv /opt/uv /var/lib/llm-deploy 2>/dev/null | wc -l")
        yield Kinds(host, planned, after_plan, bring(host, one_of_each(uv_tree)))


def test_every_kind_is_created_and_then_found_correct(kinds: Kinds, uv_tree: Tree) -> None:
    """A dry run creates nothing, the first run everything, the second nothing; other tools check the facts."""
    machine, first = kinds.host, kinds.first
    desired = one_of_each(uv_tree)
    quiet = {"file:/etc/cv/gone", "unit:haproxy.service"}

    assert {name for name, status in kinds.planned.statuses.items() if status != "changed"} == quiet
    assert kinds.after_plan == "0\n"

    assert first.result.ok, [(o.id, o.error, o.detail) for o in first.result.failed]
    assert {name for name, status in first.statuses.items() if status != "changed"} == quiet

    second = bring(machine, desired)
    assert {outcome.id: outcome.changes for outcome in second.result.changed} == {}
    assert second.result.round_trips == 1
    facts = remote(
        machine,
        "stat -c '%a %U %G' /etc/cv /etc/cv/conf /etc/cv/token /etc/cv/key; id -nG cv; readlink /etc/cv/link;"
        "sysctl -n net.ipv4.tcp_keepalive_time; systemctl is-active cv; systemctl is-enabled cv;"
        "/opt/cv/venv/bin/python -c 'import six; print(six.__version__)'; stat -c %U /etc/cv/done; which tree",
    )
    assert facts.splitlines() == [
        "750 cv cv", "640 root cv", "600 root root", "600 root root", "cv video", "conf",
        "1234", "active", "enabled", "1.17.0", "cv", "/usr/bin/tree",
    ]  # fmt: skip
    # The distribution's haproxy has not run for a moment: its unit was masked while apt installed it.
    assert remote(machine, "journalctl -q -u haproxy.service | wc -l") == "0\n"
    assert remote(machine, "ls /run/systemd/system/haproxy.service 2>/dev/null | wc -l") == "0\n"


DRIFTS = {
    "packages:cv": "dpkg --remove --force-depends tree",
    "user:cv": "usermod --shell /bin/sh cv",
    "directory:/etc/cv": "chmod 777 /etc/cv",
    "file:/etc/cv/conf": "echo two > /etc/cv/conf",
    "file:/etc/cv/token": "chmod 644 /etc/cv/token",
    "file:/etc/cv/gone": "touch /etc/cv/gone",
    "generated_secret:/etc/cv/key": "chown cv /etc/cv/key",
    "link:/etc/cv/link": "ln -sfn token /etc/cv/link",
    "sysctl:net.ipv4.tcp_keepalive_time": "sysctl -q -w net.ipv4.tcp_keepalive_time=7200",
    "unit:cv.service": "systemctl kill -s KILL cv.service",
    "tree:/opt/uv": "touch /opt/uv/extra; chmod 644 /opt/uv/uv",
    "venv:/opt/cv/venv": "rm /opt/cv/venv/bin/python",
    "command:cv": "rm /etc/cv/done",
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_drift_is_repaired_and_nothing_else_changed(kinds: Kinds, uv_tree: Tree, drift: str) -> None:
    """A dry run shows manual changes, and the next run repairs them."""
    machine = kinds.host
    desired = one_of_each(uv_tree)
    bring(machine, desired)
    remote(machine, DRIFTS[drift])
    expected = {drift, "unit:cv.service"} if drift == "file:/etc/cv/conf" else {drift}
    assert {outcome.id for outcome in bring(machine, desired, dry_run=True).result.changed} == expected
    assert {outcome.id for outcome in bring(machine, desired).result.changed} == expected
    assert bring(machine, desired).result.changed == ()


def test_units_restart_only_for_what_they_depend_on(machine: HostRecord) -> None:
    """A change of a file in `restart_on` gives a new process, any other change does not."""

    def desired(conf: str, other: str) -> list[Resource]:
        return [
            File(path="/etc/cv-dep", content=conf),
            File(path="/etc/cv-other", content=other),
            File(path="/etc/systemd/system/cvd.service", content=UNIT),
            Unit(name="cvd.service", restart_on=("file:/etc/cv-dep",)),
        ]

    pid: Callable[[], str] = lambda: remote(machine, "systemctl show -P MainPID cvd.service")  # noqa: E731
    bring(machine, desired("1", "1"))
    first = pid()
    bring(machine, desired("1", "2"))
    assert pid() == first
    bring(machine, desired("2", "2"))
    assert pid() not in (first, "0\n")


FAILING_UNIT = "[Service]\nExecStart=/bin/sh -c 'echo the model is not there >&2; exit 7'\nRestart=on-failure\n"


def test_a_failed_unit_reports_the_cause(machine: HostRecord) -> None:
    """The error has the journal; dependants are skipped; once repaired, it starts in spite of the start limit."""
    path = "/etc/systemd/system/cvf.service"
    broken: list[Resource] = [
        File(path=path, content=FAILING_UNIT),
        Unit(name="cvf.service", enabled=False, restart_on=(f"file:{path}",), ready=("false",)),
        Command(name="after", argv=("true",), after=("unit:cvf.service",)),
    ]
    seen = bring(machine, broken)
    outcome = seen.of(broken[1])
    assert outcome.error.startswith(("failed", "died 2 times after its start"))
    assert "status=7" in outcome.detail
    assert "the model is not there" in outcome.detail
    assert seen.of(broken[2]).status == "skipped"
    mended = [File(path=path, content=UNIT), Unit(name="cvf.service", restart_on=(f"file:{path}",))]
    assert bring(machine, mended).result.ok


def test_the_agent_waits_for_a_unit_whose_problem_passes(machine: HostRecord) -> None:
    """An engine failed permanently after two deaths for lack of memory that was free again a moment later."""
    path = "/etc/systemd/system/cvp.service"
    lives = "echo x >>/run/cvp; [ $(wc -l </run/cvp) -gt 3 ] && exec sleep infinity; echo no memory now >&2; exit 1"
    text = f"[Service]\nExecStart=/bin/sh -c '{lives.replace('$', '$$')}'\nRestart=always\nRestartSec=0.1\n"
    ready = ("sh", "-c", "[ $(wc -l </run/cvp) -gt 3 ]")
    unit = Unit(name="cvp.service", enabled=False, ready=ready, passing="no memory|no port", ready_timeout_s=30)
    assert bring(machine, [File(path=path, content=text), unit]).of(unit).status == "changed"
    remote(machine, "systemctl stop cvp.service; rm /run/cvp")
    permanent = replace(unit, passing="no port")
    assert re.match("died [23] times after its start", bring(machine, [permanent]).of(permanent).error)


def test_a_unit_that_is_never_ready_fails_in_time(machine: HostRecord) -> None:
    """Running is not ready; the error has the message of the `ready` command."""
    unit = Unit(
        name="cvr.service", enabled=False, ready=("sh", "-c", "echo model is loading; exit 1"), ready_timeout_s=2
    )
    seen = bring(machine, [File(path="/etc/systemd/system/cvr.service", content=UNIT), unit])
    assert "after 2 s it is still not ready: model is loading" in seen.of(unit).error


TIMER = "[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n"


def test_a_timer_runs_and_alone_starts_its_service(machine: HostRecord) -> None:
    """Units that are not services have fewer properties; `running=None` starts and stops nothing."""
    desired: list[Resource] = [
        File(path="/etc/systemd/system/cvt.service", content="[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        File(path="/etc/systemd/system/cvt.timer", content=TIMER),
        Unit(name="cvt.timer", restart_on=("file:/etc/systemd/system/cvt.timer",)),
        Unit(name="cvt.service", enabled=False, running=None, restart_on=("file:/etc/systemd/system/cvt.service",)),
    ]
    first = bring(machine, desired)
    assert first.result.ok
    assert first.statuses["unit:cvt.service"] == "ok"
    assert bring(machine, desired).result.changed == ()
    assert remote(machine, "systemctl is-active cvt.timer; systemctl show -P ExecMainPID cvt.service") == "active\n0\n"


def test_the_agent_waits_for_a_slow_start_and_reports_it(machine: HostRecord) -> None:
    """The agent follows a start that another run began to its end."""
    slow = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 3\n"
    desired: list[Resource] = [
        File(path="/etc/systemd/system/cvs.service", content=slow),
        Unit(name="cvs.service", enabled=False),
    ]
    bring(machine, desired[:1])
    remote(machine, "systemctl daemon-reload; systemctl start --no-block cvs.service")
    seen = bring(machine, desired)
    assert seen.of(desired[1]).changes == ("wait until it has started",)
    assert any(isinstance(event, Progress) and "activating" in event.text for event in seen.events)
    assert bring(machine, desired).result.changed == ()
