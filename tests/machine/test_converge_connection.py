"""Every reason for a refused connection, each reported in one line."""

import contextlib
import socket
from pathlib import Path

import pytest

from core.errors import HostError
from infra.clouds.program.ssh_key import make_key_pair
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Command
from provisioning.ssh import connection as connection_module
from provisioning.ssh.connection import connect
from provisioning.ssh.target import SshTarget
from tests.machine.converge_host import bring, moved, remote

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPp1uVd1Ww3ZqSeXG2xQpPS5Bo9nFvFoN5cRvHKwTz1u"


def test_connects_with_no_delay(machine: HostRecord) -> None:
    """TCP_NODELAY is on: without it each message may wait for the acknowledgement of the previous one."""
    with connect(SshTarget.of(machine)) as connection:
        assert connection.transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_known_hosts_of_the_user_is_not_read(
    machine: HostRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key there does no harm, and a correct one does not help."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"{machine.address} {OTHER_KEY}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with connect(SshTarget.of(machine)) as connection:
        assert connection.is_connected


def test_a_changed_host_key_is_refused(machine: HostRecord) -> None:
    """Nothing is sent to a machine that is not the known one."""
    with (
        pytest.raises(HostError, match="the host key is not the known one") as error,
        connect(SshTarget.of(moved(machine, host_keys=(OTHER_KEY,)))),
    ):
        pass
    assert error.value.hint


def test_a_closed_port_is_refused(machine: HostRecord) -> None:
    """Address and port are named."""
    with (
        pytest.raises(HostError, match=r":9\): connection refused"),
        connect(SshTarget.of(moved(machine, ssh_port=9))),
    ):
        pass


def test_silence_ends_in_time(machine: HostRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that does not answer ends after the time limit: here a listener whose queue is full."""
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 1)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        silent = moved(machine, address="127.0.0.1", ssh_port=listener.getsockname()[1])
        with pytest.raises(HostError, match="no answer within 1 s"), connect(SshTarget.of(silent)):
            pass


def test_a_server_that_is_not_an_ssh_server(machine: HostRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that another program uses the port."""
    monkeypatch.setattr(connection_module, "ANSWER_TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with (
            pytest.raises(HostError, match="SSH failed"),
            connect(SshTarget.of(moved(machine, address="127.0.0.1", ssh_port=port))),
        ):
            pass


def test_an_unknown_key_is_refused(machine: HostRecord, tmp_path: Path) -> None:
    """The user and the key's file are named."""
    make_key_pair(tmp_path / "other", comment="other")
    with (
        pytest.raises(HostError, match=f"login as {machine.user} with {tmp_path}/other refused"),
        connect(SshTarget.of(moved(machine, identity_file=tmp_path / "other"))),
    ):
        pass


@pytest.mark.parametrize(("name", "content"), [("missing", None), ("garbage", "no key\n")])
def test_an_unusable_identity_file_is_named(
    machine: HostRecord, tmp_path: Path, name: str, content: str | None
) -> None:
    """A missing file, or one without a key, is named before any request to the host."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with (
        pytest.raises(HostError, match=f"identity file {path} "),
        connect(SshTarget.of(moved(machine, identity_file=path))),
    ):
        pass


def test_sudo_refused(machine: HostRecord) -> None:
    """The error says what to change if sudo requires a password."""
    setup = f"""
        useradd -m plain; cp -r /home/{machine.user}/.ssh /home/plain/; chown -R plain /home/plain/.ssh
        echo 'AllowUsers plain' > /etc/ssh/sshd_config.d/20-plain.conf; systemctl restart ssh
    """
    remote(machine, setup)
    with pytest.raises(HostError, match="sudo refused; let plain use sudo without a password"):
        bring(moved(machine, user="plain"), [Command(name="c", argv=("true",))])


def test_a_host_without_python(machine: HostRecord) -> None:
    """The error says what to install."""
    remote(machine, "mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        with pytest.raises(HostError, match="has no python3; install python3"):
            bring(machine, [Command(name="c", argv=("true",))])
    finally:
        remote(machine, "mv /usr/bin/python3.away /usr/bin/python3")


def test_output_of_the_login_shell_is_skipped(machine: HostRecord) -> None:
    """A greeting on stdout is not an event and does no harm."""
    rc = f"/home/{machine.user}/.bashrc"
    remote(machine, f"cp {rc} /tmp/rc; sed -i '1i echo Welcome' {rc}")
    try:
        assert bring(machine, [Command(name="c", argv=("true",))]).result.ok
    finally:
        remote(machine, f"cp /tmp/rc {rc}")
