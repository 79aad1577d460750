"""Faults between a user and a host: one clear line, the right status, and the next run completes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.clouds.program.ssh_key import make_key_pair
from infra.contract.outputs import HostRecord
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import stream
from provisioning.ssh.target import SshTarget
from tests.machine.converge_host import moved, poll, remote
from tests.machine.fab import Fab
from tests.machine.machines import making_machines

LOST_PACKAGE = "bc"
"""Removed before a test, so that a run has something to do; a small package that nothing needs."""

AGENT = "python3 -ISc"


@pytest.fixture(scope="module")
def host(machine_state: Path) -> Iterator[HostRecord]:
    """A machine for this module only, with the base role on it."""
    with making_machines(machine_state) as make:
        yield make("faults")


@pytest.fixture
def fab(host: HostRecord, tmp_path: Path) -> Fab:
    return Fab(tmp_path, host)


@pytest.fixture(scope="module", autouse=True)
def _based(host: HostRecord, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = Fab(tmp_path_factory.mktemp("base"), host).run("provision", "--roles", "base")
    assert done.status == 0, done.err


def completes(fab: Fab) -> None:
    """The next run ends well, and the one after it finds nothing to do."""
    done = fab.run("provision", "--roles", "base")
    assert done.status == 0, done.err
    assert fab.result()["ok"] is True
    assert "nothing to change" in fab.run("plan", "--roles", "base").err


def works(fab: Fab) -> None:
    """The next run ends well. It finds nothing to do: the fault was in front of the host."""
    done = fab.run("provision", "--roles", "base")
    assert done.status == 0, done.err
    assert {each["changed"] for each in fab.result()["hosts"]} == {0}


@pytest.fixture
def slow(host: HostRecord) -> Iterator[None]:
    """A change that takes until the test releases it: apt waits for dpkg's lock, which the test holds."""
    remote(host, "apt-get -q -y -o DPkg::Lock::Timeout=60 purge unattended-upgrades >/dev/null 2>&1")
    hold = "import fcntl,time; f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(600)"
    remote(host, f'setsid python3 -c "{hold}" >/dev/null 2>&1 & echo $! > /run/holder')
    poll(lambda: remote(host, "fuser /var/lib/dpkg/lock-frontend 2>/dev/null; ls /run/holder"))
    yield
    release(host)


def release(host: HostRecord) -> None:
    """Let apt continue, and wait for an interrupted agent: it lets apt finish, and holds its lock until then."""
    remote(host, "pkill -f lock-frontend || true")
    poll(lambda: not remote(host, f"pgrep -f '^{AGENT}' || true"))


def at_work(host: HostRecord) -> None:
    """Wait until an agent has its list: it is greeted earlier, while the list is still being made."""
    poll(lambda: remote(host, "flock -n /var/lib/llm-deploy/lock true || echo held"))


# -- reaching the host ---------------------------------------------------------------------------------------------


def test_ssh_refused(host: HostRecord, fab: Fab) -> None:
    """sshd does not run; it is started again over a connection that was open before."""
    with connect(SshTarget.of(host)) as before:
        "".join(stream(before, SshTarget.of(host), ("systemctl", "stop", "ssh")))
        done = fab.run("provision", "--roles", "base")
        "".join(stream(before, SshTarget.of(host), ("systemctl", "start", "ssh")))
    assert done.status == 1
    assert "connection refused; is sshd running" in done.error
    works(fab)


def test_host_key_changed(host: HostRecord, fab: Fab) -> None:
    key = "/etc/ssh/ssh_host_ed25519_key"
    # In one session: sshd reads its key again for each connection.
    made = remote(
        host, f"cp -p {key} {key}.pub /root/; rm {key}; ssh-keygen -q -t ed25519 -N '' -f {key}; cat {key}.pub"
    )
    new = " ".join(made.split()[:2])
    done = fab.run("provision", "--roles", "base")
    assert done.status == 1
    assert "the host key is not the known one" in done.error
    renewed = moved(host, host_keys=(new,))
    fab.use(renewed)
    works(fab)
    remote(renewed, "mv /root/ssh_host_ed25519_key* /etc/ssh/; systemctl restart ssh")


def test_login_refused(host: HostRecord, fab: Fab, tmp_path: Path) -> None:
    make_key_pair(tmp_path / "other", comment="other")
    fab.use(moved(host, identity_file=tmp_path / "other"))
    done = fab.run("provision", "--roles", "base")
    assert done.status == 1
    assert "refused; check user and identity_file" in done.error
    fab.use(host)
    works(fab)


def test_sudo_refused(host: HostRecord, fab: Fab) -> None:
    """A login that may not become root; it completes when sudo lets it."""
    remote(
        host,
        "id plain 2>/dev/null || useradd -m -s /bin/sh plain; install -d -m 700 -o plain ~plain/.ssh;"
        f" install -o plain -m 600 ~{host.user}/.ssh/authorized_keys ~plain/.ssh/authorized_keys;"
        " sed -i 's/^AllowUsers .*/& plain/' /etc/ssh/sshd_config.d/*.conf; systemctl reload ssh",
    )
    fab.use(moved(host, user="plain"))
    done = fab.run("provision", "--roles", "base")
    assert done.status == 1
    assert "sudo refused; let plain use sudo without a password" in done.error
    remote(host, "echo 'plain ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/plain")
    works(fab)
    remote(host, "rm /etc/sudoers.d/plain; userdel -r plain 2>/dev/null")


def test_one_of_three_hosts_is_broken(host: HostRecord, fab: Fab, machine_state: Path) -> None:
    with making_machines(machine_state) as make:
        third = make("third")
        fab.use(moved(host, name="good"), moved(host, name="broken", ssh_port=2), moved(third, name="fresh"))
        done = fab.run("provision", "--roles", "base", "--parallel", "2")
        assert done.status == 1
        assert done.error.startswith("error: 1 of 3 hosts failed: broken")
        said = done.err.splitlines()
        assert any(line.startswith("broken  ✗ ") for line in said)
        assert any(line.startswith("good    ✓ ") for line in said)
        assert any(line.startswith("fresh   ✓ ") for line in said)
        assert [(each["host"], each["ok"]) for each in fab.result()["hosts"]] == [
            ("good", True),
            ("broken", False),
            ("fresh", True),
        ]
        fab.use(moved(host, name="good"), moved(third, name="fresh"))
        works(fab)


# -- in the middle of a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(f"pkill -KILL -f '^{AGENT}'", id="agent killed"),
        # The sshd whose child is our sudo: its own session, not the one that looks.
        pytest.param(f"kill -KILL $(ps -o ppid= -p $(pgrep -of '^sudo -n .*{AGENT}'))", id="connection cut"),
    ],
)
@pytest.mark.usefixtures("slow")
def test_cut_off_in_the_middle(host: HostRecord, fab: Fab, cut: str) -> None:
    running = fab.start("provision", "--roles", "base")
    at_work(host)
    remote(host, cut)
    done = running.end()
    assert done.status == 1
    assert "the connection was cut; run the same command again" in done.error
    release(host)
    completes(fab)


@pytest.mark.usefixtures("slow")
def test_ctrl_c(host: HostRecord, fab: Fab) -> None:
    running = fab.start("provision", "--roles", "base")
    at_work(host)
    running.interrupt()
    done = running.end()
    assert done.status == 130
    assert "interrupted; run the same command again" in done.error
    assert fab.result()["hosts"] == [{"host": host.name, "ok": False, "error": "interrupted"}]
    release(host)
    completes(fab)


@pytest.mark.usefixtures("slow")
def test_two_at_once(host: HostRecord, fab: Fab, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Fab(tmp_path / "second", host)
    running = fab.start("provision", "--roles", "base")
    at_work(host)
    turned_away = second.run("provision", "--roles", "base")
    assert turned_away.status == 1
    assert "another provision is under way: started by " in turned_away.error
    remote(host, "pkill -f lock-frontend")
    assert running.end().status == 0
    completes(second)


def test_port_443_is_taken(host: HostRecord, fab: Fab) -> None:
    remote(host, "setsid python3 -m http.server 443 >/dev/null 2>&1 &")
    poll(lambda: remote(host, "ss -Hltn sport = :443"))
    done = fab.run("provision", "--roles", "base,gateway")
    assert done.status == 1
    assert done.error.startswith("error: 1 of 1 hosts failed")
    assert "port 443 is in use by python3 (process " in done.err
    remote(host, "pkill -f '[h]ttp.server 443'")
    done = fab.run("provision", "--roles", "base,gateway")
    assert done.status == 0, done.err
    assert "nothing to change" in fab.run("plan", "--roles", "base,gateway").err
