"""Incidents on a host: engines that die or use all memory, releases that do not answer, wrong clocks.

The engine is a double, because its own behaviour does not matter here; unit, systemd and deaths are real.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.errors import HostError
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply.desired_state import DesiredState
from provisioning.converge.resources import File, Link, Packages, Resource, Unit
from provisioning.hosts.target import Target
from provisioning.operate.upgrade import upgrade_engine
from provisioning.programs import program
from provisioning.roles.engine.release import Release, asked_first
from provisioning.roles.host.base import base
from provisioning.roles.host.layout import LIB_DIR
from serving.spec.models import GatewaySpec
from tests.machine.converge_host import bring, moved, poll, remote
from tests.machine.fab import Fab
from tests.machine.machines import making_machines

UNIT = "vllm.service"
RELEASES = "/opt/double"

ENGINE = """\
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
VERSION = {version!r}
if VERSION.endswith("dies") or os.path.exists("/run/engine-dies"):
    sys.exit("ImportError: libcudart.so.14: cannot open shared object file")
if VERSION.endswith("silent"):
    time.sleep(600)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {{"version": VERSION, "data": [{{"id": "tiny"}}], "choices": [{{"text": "!"}}]}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
    do_POST = do_GET
    def log_message(self, *words): pass
server = HTTPServer(("127.0.0.1", 8000), Handler)
eaten = []
while True:
    server.timeout = 0.2
    server.handle_request()
    if os.path.exists("/run/engine-eats"):
        eaten.append(bytearray(b"x") * (32 << 20))
"""

UNIT_TEXT = """\
# release {version}
[Unit]
StartLimitIntervalSec=600
StartLimitBurst=5
[Service]
Type=exec
ExecStart=/usr/bin/python3 {releases}/current/engine.py
ExecStartPost=/usr/bin/python3 {lib}/engine-ready 8000 tiny 4
TimeoutStartSec=20
OOMPolicy=kill
OOMScoreAdjust=200
Restart=always
RestartSec=0.5
"""


def release_of(version: str, *, allow_downgrade: bool = False) -> list[Resource]:
    """Return the resources of an engine's role: a release in a folder, the link, the unit, and the rollback."""
    release = Release(
        unit=UNIT, link=f"{RELEASES}/current", version=version.partition(" ")[0], allow_downgrade=allow_downgrade
    )
    engine = File(path=f"{RELEASES}/{version}/engine.py", content=ENGINE.format(version=version))
    link = Link(path=release.link, target=version, after=(engine.id,))
    text = UNIT_TEXT.format(version=version, releases=RELEASES, lib=LIB_DIR)
    unit_file = File(path=f"/etc/systemd/system/{UNIT}", content=text, after=(link.id,))
    changes = (engine.id, link.id, unit_file.id)
    listed = [
        *release.version_check,
        File(path=f"{LIB_DIR}/engine-ready", content=program("engine/engine_ready"), mode=0o755),
        release.helper,
        engine,
        link,
        unit_file,
        Unit(name=UNIT, enabled=False, restart_on=changes, ready_timeout_s=15, undo=release.undo, after=changes),
        release.keep,
    ]
    return asked_first(listed)


@dataclass
class Care:
    """The host, its engine, and the tasks that look after it."""

    host: HostRecord
    fab: Fab
    patch: pytest.MonkeyPatch

    def upgrade(self, version: str, *hosts: HostRecord, allow_downgrade: bool = False) -> int:
        """Run the task with a checkout that brings `version`."""

        def desired_state(
            _: StackOutputs, hosts: Sequence[HostRecord], roles: Sequence[str], *, allow_downgrade: bool
        ) -> DesiredState:
            assert roles == ["engine"]
            return DesiredState(
                {each.name: release_of(version, allow_downgrade=allow_downgrade) for each in hosts}, None
            )

        self.fab.use(*(hosts or (self.host,)))
        self.patch.setattr("provisioning.apply.desired_state.desired_state", desired_state)
        target = Target(inventory=str(self.fab.inventory))
        return upgrade_engine(target, names=[], allow_downgrade=allow_downgrade)

    def version(self) -> str:
        """Return the version that the running engine reports."""
        return str(json.loads(remote(self.host, "curl -sS http://127.0.0.1:8000/version"))["version"])

    def releases(self) -> set[str]:
        """Return the folders of releases on the host."""
        return set(remote(self.host, f"ls -1 {RELEASES} | grep -v current").splitlines())

    def unit(self, name: str) -> str:
        """Return one of systemd's properties of the engine's unit."""
        return remote(self.host, f"systemctl show --value -p {name} {UNIT}").strip()


@pytest.fixture(scope="module")
def host(machine_state: Path) -> Iterator[HostRecord]:
    """A machine for this module only: engines die on it and its memory runs out."""
    with making_machines(machine_state) as make:
        yield make("care")


@pytest.fixture
def care(host: HostRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Care:
    """The host with only release 1.0 recorded."""
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    forget = f"rm -rf /run/engine-* {RELEASES} /var/lib/llm-deploy/releases; systemctl stop {UNIT} 2>/dev/null; true"
    remote(host, forget)
    result = bring(host, release_of("1.0")).result
    assert result.ok, [(outcome.id, outcome.error, outcome.detail) for outcome in result.failed]
    return Care(host, Fab(tmp_path, host), monkeypatch)


def test_an_engine_is_upgraded_and_downgraded_only_on_request(care: Care, capsys: pytest.CaptureFixture[str]) -> None:
    assert care.upgrade("2.0") == 0
    assert "✓ 1.0 → 2.0 in " in capsys.readouterr().err
    assert (care.version(), care.releases()) == ("2.0", {"1.0", "2.0"})
    began = care.unit("InvocationID")
    assert care.upgrade("2.0") == 0
    assert "✓ already 2.0, and it answers" in capsys.readouterr().err
    with pytest.raises(HostError, match=r"version 1\.0 is older than 2\.0, which answered here; to go back") as caught:
        care.upgrade("1.0")
    assert caught.value.exit_code == 1
    assert (care.version(), care.unit("InvocationID")) == ("2.0", began)
    refused = bring(care.host, release_of("1.0")).result  # nor does a provision
    assert ([each.id for each in refused.failed], refused.changed) == (["command:engine-version"], ())
    assert care.unit("InvocationID") == began
    assert care.upgrade("1.0", allow_downgrade=True) == 0
    assert care.version() == "1.0"
    assert care.upgrade("3.0") == 0
    assert (care.version(), care.releases()) == ("3.0", {"1.0", "3.0"})
    written = json.loads((care.fab.runs / "test/latest/upgrade-engine.json").read_text())
    assert [(each["before"], each["after"], each["ok"]) for each in written["hosts"]] == [("1.0", "3.0", True)]


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        ("2.0 dies", "ImportError: libcudart.so.14: cannot open shared object file"),
        ("2.0 silent", "not ready: [Errno 111] Connection refused"),
    ],
)
def test_a_release_that_does_not_answer_is_taken_back(
    care: Care, capsys: pytest.CaptureFixture[str], version: str, cause: str
) -> None:
    """Reported with its cause; later hosts are not changed."""
    with pytest.raises(HostError, match=r"returned to version 1\.0, which answers again") as caught:
        care.upgrade(version, moved(care.host, name="first"), moved(care.host, name="second"))
    assert str(caught.value).endswith(f"not upgraded: second; see `make logs INVENTORY={care.fab.inventory}`")
    assert cause in capsys.readouterr().err
    assert (care.version(), care.unit("ActiveState")) == ("1.0", "active")
    began = care.unit("InvocationID")
    back = bring(care.host, release_of("1.0")).result
    assert [outcome.id for outcome in back.changed] == [
        "command:engine-release"
    ]  # removes the failed release, no restart
    assert care.unit("InvocationID") == began
    assert care.releases() == {"1.0"}
    assert care.upgrade("2.1") == 0


@contextmanager
def full_data_disk(host: HostRecord) -> Iterator[None]:
    """A separate disk for the models, without a free byte."""
    data = "/var/lib/llm"
    remote(
        host, f"mkdir -p {data}; mount -t tmpfs -o size=1m tmpfs {data}; cat /dev/zero > {data}/x 2>/dev/null || true"
    )
    try:
        yield
    finally:
        remote(host, f"umount {data}")


def test_an_engine_that_dies_in_a_loop_stays_down_and_is_reported_clearly(care: Care) -> None:
    remote(care.host, f"touch /run/engine-dies; systemctl kill -s KILL {UNIT}")
    poll(lambda: care.unit("ActiveState") == "failed")
    with full_data_disk(care.host):
        seen = care.fab.run("status")
    assert seen.status == 1
    assert "! vllm  failed (failed), ended with status 1, systemd gave up after 5 starts since" in seen.columns
    assert "! models  the engine does not answer" in seen.columns
    assert "! queue  no gateway is running" in seen.columns
    assert "! /var/lib/llm  0.0 of 0.0 GiB free" in seen.columns
    assert "! error  " in seen.columns
    assert "not seen" not in seen.out
    failed = care.fab.run("restart")
    assert failed.status == 1
    assert "ImportError: libcudart.so.14: cannot open shared object file; a library is missing" in failed.error
    remote(care.host, "rm /run/engine-dies")
    assert care.fab.run("restart").status == 0
    assert care.version() == "1.0"


def test_lack_of_memory_kills_only_the_engine(care: Care) -> None:
    """The machine has a limit of 1 GiB; another process with its own memory survives, and so does sshd."""
    bystander = "import time; held = bytearray(b'x') * (128 << 20); time.sleep(600)"
    pid = remote(care.host, f'setsid python3 -c "{bystander}" >/dev/null 2>&1 & echo $!').strip()
    remote(care.host, "touch /run/engine-eats")
    poll(lambda: int(care.unit("NRestarts")) > 0, deadline_s=60)
    remote(care.host, "rm /run/engine-eats")
    poll(lambda: care.unit("ActiveState") == "active")
    seen = json.loads(care.fab.run("status", "--json").out)[0]
    assert seen["oom_kills"] > 0
    assert (seen["models"], seen["units"][0]["restarts"]) == (["tiny"], int(care.unit("NRestarts")))
    memory = next(each for each in seen["space"] if each["name"] == "memory")
    assert memory["total_gib"] == 1.0
    assert 0.3 < memory["free_gib"] < 0.9
    assert remote(care.host, f"kill {pid} && echo alive") == "alive\n"


SKEWED = """\
cat > /usr/local/bin/python3 <<'END'
#!/bin/sh
LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) FAKETIME={skew} exec /usr/bin/python3 "$@"
END
chmod 755 /usr/local/bin/python3
echo 'Acquire::Check-Date "true";' > /etc/apt/apt.conf.d/zz-dates
"""


def test_a_wrong_clock_is_reported_and_stops_only_apt(care: Care) -> None:
    """Only our programs on the host, and apt below them, see this clock: a container has no clock of its own."""
    assert bring(care.host, [Packages(name="skew", present=("libfaketime",))]).result.ok
    remote(care.host, SKEWED.format(skew="-5y"))
    try:
        assert "! clock  18" in care.fab.run("status").columns  # some 1825 days
        remote(care.host, "rm -rf /var/lib/apt/lists/*")
        desired = [Packages(name="more", present=("bc",)), *release_of("1.1")]
        behind = bring(care.host, desired)
        assert "is not valid yet" in behind.of(desired[0]).error
        assert "the host's clock is behind" in behind.of(desired[0]).error
        assert care.version() == "1.1"
    finally:
        remote(care.host, "rm /usr/local/bin/python3 /etc/apt/apt.conf.d/zz-dates")
    assert bring(care.host, desired).result.ok
    assert "clock" not in care.fab.run("status").out


def test_the_clock_is_kept_by_the_images_program_else_by_timesyncd(host: HostRecord) -> None:
    """systemd skips timesyncd in containers, where it could not set the clock; here it may run anyway."""
    drop_in = "/etc/systemd/system/systemd-timesyncd.service.d/10-test.conf"
    run_here = File(path=drop_in, content="[Unit]\nConditionVirtualization=\n")
    on_a_machine_of_its_own = base(moved(host, virtualization="vm"), GatewaySpec())
    sync = replace(next(each for each in on_a_machine_of_its_own if each.id == "command:time-sync"), after=())
    assert bring(host, [run_here, sync]).result.ok
    assert remote(host, "systemctl is-active systemd-timesyncd; systemctl is-enabled systemd-timesyncd") == (
        "active\nenabled\n"
    )
    assert bring(host, [run_here, sync]).result.changed == ()
    remote(host, "systemctl disable --now systemd-timesyncd 2>/dev/null")
    again = bring(host, [run_here, sync]).result
    assert [outcome.id for outcome in again.changed] == ["command:time-sync"]
