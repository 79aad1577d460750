"""A failed connection is reported with its address and a remedy."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko.hostkeys import HostKeyEntry

from core.errors import HostError
from provisioning.ssh.connection import LoginError, OtherHostError, _in_words, connect, open_connection
from tests.doubles.ssh_server import running_ssh_server
from tests.gateways import free_port
from tests.unit.provisioning.records import HOST_KEY, ssh_target


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A loopback port that closes each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def refused(port: int, identity: Path | None = None) -> str:
    """Return the error text of a refused connection."""
    with (
        pytest.raises(HostError) as caught,
        connect(ssh_target(address="127.0.0.1", ssh_port=port, identity_file=str(identity) if identity else None)),
    ):
        pass
    assert caught.value.where == f"one (admin@127.0.0.1:{port})"
    return f"{caught.value.what}; {caught.value.hint}"


def test_connection_refused_names_sshd() -> None:
    assert refused(free_port()) == "connection refused; is sshd running there, on this port?"


def test_other_server_on_the_port_is_named(deaf_port: int) -> None:
    said = refused(deaf_port)
    assert said.startswith("SSH failed: ")
    assert said.endswith("; does sshd listen there? `ssh -v` to the same address shows more")


def test_login_without_any_key_says_where_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once the hint asked whether sshd listens there, which was certain."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with running_ssh_server() as server, pytest.raises(LoginError) as caught:
        open_connection(ssh_target(address="127.0.0.1", ssh_port=server.port, host_keys=[server.host_key_line]))
    assert "there is no key to log in with: " in str(caught.value)
    assert "name a private key as the host's identity_file" in caught.value.hint


def test_changed_host_key_is_shown_as_an_inventory_line() -> None:
    """Once only its fingerprint was shown, which cannot be pasted."""
    entry = HostKeyEntry.from_line(f"one {HOST_KEY}")
    assert entry
    key = entry.key
    said = _in_words(paramiko.BadHostKeyException("one", key, key), ssh_target(), "one")
    assert isinstance(said, OtherHostError)
    assert said.hint.endswith(f"host_keys of the inventory: {HOST_KEY}")


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (None, "cannot be read (No such file or directory)", "name a private key that you may read"),
        (
            "no key",
            "is not a usable private key",
            "name a private key without a passphrase, or leave identity_file out",
        ),
    ],
)
def test_unusable_identity_file_is_refused(tmp_path: Path, content: str | None, what: str, hint: str) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    said = refused(1, key)
    assert said.startswith(f"identity file {key} {what}")
    assert f"; {hint}" in said
