"""Faults on the way to a host or on it: the next run completes it, and nothing incomplete counts as done."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.project.converge.delay_proxy import DelayProxy
from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.converge.agent.state import LOCK_WAIT_S
from provisioning.converge.resources import Command, File, Packages, Resource, Secret, Tree, Unit, Venv
from tests.machine.converge_host import Background, bring, moved, poll, remote
from tests.machine.test_converge_kinds import LOCK, UNIT, UV, uv_tree

__all__ = ["uv_tree"]  # a fixture, found by its name

AGENT_PID = r"sed -E 's/.*process ([0-9]+).*/\1/' /var/lib/llm-deploy/lock"
KILL_AGENT = f"kill -9 $({AGENT_PID})"


def test_two_at_once(machine: HostRecord) -> None:
    """The second run fails after a short wait and reports who works since when; the first is not disturbed."""
    remote(machine, "rm -f /run/slow-may-end /run/slow-began")
    waits = "touch /run/slow-began; until test -e /run/slow-may-end; do sleep 0.1; done"
    slow: list[Resource] = [Command(name="slow", argv=("sh", "-c", waits))]
    first = Background(machine, slow)
    poll(lambda: remote(machine, "ls /run/slow-began 2>/dev/null || true"))
    began = time.monotonic()
    with pytest.raises(HostError, match=r"another provision is under way: started by \S+ at 20\d\d-"):
        bring(machine, slow)
    assert time.monotonic() - began < LOCK_WAIT_S + 3
    remote(machine, "touch /run/slow-may-end")
    first.join()
    assert first.seen is not None
    assert first.seen.result.ok


def cut_restart_list(version: str, seconds: str) -> list[Resource]:
    """Return a change, a pause in which the test strikes, and a unit that the change concerns."""
    return [
        File(path="/etc/systemd/system/cut.service", content=UNIT),
        File(path="/etc/cut.conf", content=version),
        Command(name="pause", argv=("sleep", seconds), check=("test", "-e", "/run/no-pause")),
        Unit(name="cut.service", restart_on=("file:/etc/cut.conf",)),
    ]


@pytest.mark.parametrize("how", ["killed agent", "cut connection"])
def test_an_interrupted_restart_is_made_up_for(machine: HostRecord, how: str) -> None:
    """Cut off between the change of a file and the restart that it needs: the next run restarts, the one after not."""
    pid = "systemctl show -P MainPID cut.service"
    remote(machine, "touch /run/no-pause")
    bring(machine, cut_restart_list("1", "0"))
    before = remote(machine, pid)
    remote(machine, "rm /run/no-pause")
    with DelayProxy((machine.address, machine.ssh_port), round_trip_s=0).running() as proxy:
        run = Background(moved(machine, address="127.0.0.1", ssh_port=proxy.port), cut_restart_list(how, "600"))
        poll(lambda: remote(machine, "pgrep -fx 'sleep 600' | wc -l") != "0\n")
        if how == "killed agent":
            remote(machine, KILL_AGENT)
        else:
            proxy.cut()
        run.join()
    assert isinstance(run.error, HostError)
    poll(lambda: remote(machine, "pgrep -fx 'sleep 600' | wc -l") == "0\n")
    assert remote(machine, pid) == before
    remote(machine, "touch /run/no-pause")
    poll(lambda: remote(machine, "flock -n /var/lib/llm-deploy/lock echo free") == "free\n")
    completed = bring(machine, cut_restart_list(how, "0"))
    assert [outcome.id for outcome in completed.result.changed] == ["unit:cut.service"]
    assert remote(machine, pid) not in (before, "0\n")
    assert bring(machine, cut_restart_list(how, "0")).result.changed == ()


def test_an_agent_killed_while_apt_works(machine: HostRecord) -> None:
    """apt finishes by itself or is repaired by the next run, and dpkg finds nothing incomplete."""
    desired: list[Resource] = [Packages(name="apt", present=("git",))]
    run = Background(machine, desired)
    poll(lambda: remote(machine, "pgrep -x apt-get | wc -l") != "0\n")
    remote(machine, KILL_AGENT)
    run.join()
    assert isinstance(run.error, HostError)
    assert bring(machine, desired).result.ok
    assert remote(machine, "git --version; dpkg --audit").startswith("git version")


def test_a_killed_apt_is_repaired(machine: HostRecord) -> None:
    """A package that was unpacked and not configured is finished by the next run."""
    bring(machine, [Packages(name="half", present=("bc",))])
    remote(
        machine,
        "dpkg --force-depends --remove bc >/dev/null; cd /tmp && apt-get -q download bc && dpkg --unpack bc_*.deb",
    )
    assert (
        "half-configured" in (audit := remote(machine, "dpkg-query -W -f '${db:Status-Status}' bc"))
        or audit == "unpacked"
    )
    assert bring(machine, [Packages(name="half", present=("bc",))]).result.ok
    assert remote(machine, "dpkg-query -W -f '${db:Status-Status}' bc; dpkg --audit") == "installed"


NO_WAY = """\
Acquire::http::Proxy "http://127.0.0.1:9";
Acquire::https::Proxy "http://127.0.0.1:9";
Acquire::Retries::Delay "false";
"""
"""apt's settings without a way to the registry, and without its pauses of up to 8 s between tries."""


def test_a_registry_out_of_reach(machine: HostRecord) -> None:
    """The error has apt's own message; when the registry is reachable again, the next run completes."""
    desired: list[Resource] = [Packages(name="far", present=("sl",))]
    remote(machine, f"echo '{NO_WAY}' > /etc/apt/apt.conf.d/zz-no-way; apt-get clean")
    try:
        failed = bring(machine, desired).of(desired[0])
    finally:
        remote(machine, "rm /etc/apt/apt.conf.d/zz-no-way")
    assert "Failed to fetch" in failed.error
    assert "127.0.0.1" in failed.error
    assert bring(machine, desired).result.ok


@pytest.mark.parametrize("how", ["killed agent", "cut connection"])
def test_an_interrupted_large_file_resumes_where_it_stopped(machine: HostRecord, tmp_path: Path, how: str) -> None:
    """The half does not have the final name; the next run requests only the other half."""
    size = 48 << 20
    (tmp_path / "weights").write_bytes(hashlib.shake_256(how.encode()).digest(size))
    wanted = Tree(path=f"/opt/large-{how.split(maxsplit=1)[0]}", source=tmp_path)
    with DelayProxy((machine.address, machine.ssh_port), round_trip_s=0.3).running() as proxy:
        run = Background(moved(machine, address="127.0.0.1", ssh_port=proxy.port), [wanted])
        poll(lambda: remote(machine, f"cat {wanted.path}/.weights.* 2>/dev/null | wc -c") > "1")
        if how == "killed agent":
            remote(machine, KILL_AGENT)
        else:
            proxy.cut()
        run.join()
        assert proxy.bytes_up < size
    assert isinstance(run.error, HostError)
    assert remote(machine, f"ls {wanted.path}") == ""
    poll(lambda: remote(machine, "flock -n /var/lib/llm-deploy/lock echo free") == "free\n")
    have = int(remote(machine, f"cat {wanted.path}/.weights.* | wc -c"))
    assert have > 0
    with DelayProxy((machine.address, machine.ssh_port), round_trip_s=0).running() as proxy:
        assert bring(moved(machine, address="127.0.0.1", ssh_port=proxy.port), [wanted]).result.ok
        assert proxy.bytes_up < size - have + (1 << 20)
    digest = hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest()
    assert remote(machine, f"sha256sum {wanted.path}/weights").startswith(digest)
    assert bring(machine, [wanted]).result.changed == ()


@contextmanager
def small_disk(host: HostRecord, size: str) -> Iterator[str]:
    """Mount a small tmpfs on the host."""
    path = "/mnt/small"
    remote(host, f"mkdir -p {path}; mount -t tmpfs -o size={size} tmpfs {path}; echo old > {path}/conf")
    try:
        yield path
    finally:
        remote(host, f"umount {path}")


def test_a_full_disk_keeps_the_old_file(machine: HostRecord) -> None:
    """The error gives the free space; nothing incomplete remains; dependants are skipped, the rest is done."""
    with small_disk(machine, "1m") as path:
        too_large = File(path=f"{path}/conf", content="x" * (2 << 20))
        tree_error = File(path="/etc/after-full", content="x", after=(too_large.id,))
        rest = File(path="/etc/rest-of-full", content=str(time.time()))
        seen = bring(machine, [too_large, tree_error, rest])
        assert seen.statuses == {too_large.id: "failed", tree_error.id: "skipped", rest.id: "changed"}
        assert f"no space left for {path}/conf" in seen.of(too_large).error
        assert remote(machine, f"cat {path}/conf; ls -A {path}") == "old\nconf\n"


def test_a_full_disk_stops_a_tree_before_it_travels(machine: HostRecord, tmp_path: Path) -> None:
    """Content that cannot fit is not sent."""
    (tmp_path / "weights").write_bytes(bytes(3 << 20))
    with small_disk(machine, "1m") as path:
        wanted = Tree(path=f"{path}/tree", source=tmp_path)
        seen = bring(machine, [wanted])
        assert "needs 3 MiB" in seen.of(wanted).error
        assert seen.result.round_trips == 1


PIP_LOCK = "pip==25.0.1 --hash=sha256:c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f\n"


def test_a_full_disk_leaves_no_half_environment(machine: HostRecord, uv_tree: Tree) -> None:
    """The space is free again after a build that did not fit, and the error says so."""
    with small_disk(machine, "3m") as path:
        wanted = Venv(path=f"{path}/venv", lock=PIP_LOCK, uv=UV, after=(uv_tree.id,))
        seen = bring(machine, [uv_tree, wanted])
        assert "no space left while building" in seen.of(wanted).error
        assert remote(machine, f"ls -A {path}") == "conf\n"


def test_an_agent_killed_while_it_builds_an_environment(machine: HostRecord, uv_tree: Tree) -> None:
    """An incomplete environment is never used, and the next build removes it."""
    bring(machine, [uv_tree])
    slow_uv = '#!/bin/sh\nmkdir -p "$VIRTUAL_ENV"; sleep 601\n'
    bring(machine, [File(path="/opt/killed/uv", content=slow_uv, mode=0o755)])
    run = Background(machine, [Venv(path="/opt/killed/venv", lock=LOCK, uv="/opt/killed/uv")])
    poll(lambda: remote(machine, "pgrep -fx 'sleep 601' | wc -l") != "0\n")
    remote(machine, KILL_AGENT)
    run.join()
    assert isinstance(run.error, HostError)
    wanted = Venv(path="/opt/killed/venv", lock=LOCK, uv=UV)
    assert bring(machine, [wanted]).result.ok
    assert bring(machine, [wanted]).result.changed == ()
    assert remote(machine, "/opt/killed/venv/bin/python -c 'import six'; ls -d /opt/killed/venv* | wc -l") == "2\n"


def test_secrets_are_nowhere(machine: HostRecord) -> None:
    """Neither in events, the process list, the journal (sudo logs command lines) nor the agent's state."""
    secret = "s3cret-of-the-whole-test"
    look = (
        "sh",
        "-c",
        'for f in /proc/[0-9]*/cmdline; do tr "\\0" " " < $f; echo; done 2>/dev/null; echo "$TOKEN"; exit 1',
    )
    desired: list[Resource] = [
        File(path="/etc/secret-file", content=Secret(f"{secret}\n"), mode=0o600),
        Command(name="look", argv=look, env={"TOKEN": Secret(secret)}),
    ]
    seen = bring(machine, desired)
    outcome = seen.of(desired[1])
    assert "python3 -ISc" in outcome.detail
    assert outcome.detail.endswith("\n(secret)\n")
    assert secret not in repr(seen)
    assert (
        remote(machine, f"cat /etc/secret-file; grep -r {secret[:-1]}[t] /var/lib/llm-deploy /run /var/log | wc -l")
        == f"{secret}\n0\n"
    )
    assert remote(machine, f"journalctl -q | grep -c {secret[:-1]}[t] || true") == "0\n"
