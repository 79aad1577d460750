"""The key that worked before is offered first and alone, however many keys an SSH agent holds."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from provisioning.operate.shell import known_login_file
from provisioning.ssh.connection import LoginError, connect
from provisioning.ssh.login_keys import known_login
from provisioning.ssh.target import SshTarget
from tests.doubles.ssh_server import SshServer, running_ssh_server
from tests.ssh_keys import saved_key
from tests.unit.provisioning.records import ssh_target

KEYS = 6
RIGHT = 4
"""Index of the key that the host knows: the fifth of an agent's six."""


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[paramiko.PKey]]:
    """An SSH agent with six keys, and nothing else to log in with."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(re.findall(r"(SSH_\w+)=([^;]+);", said))
    monkeypatch.setenv("SSH_AUTH_SOCK", variables["SSH_AUTH_SOCK"])
    saved = [saved_key(tmp_path / f"key{index}") for index in range(KEYS)]
    for path, _ in saved:
        subprocess.run(["ssh-add", "-q", str(path)], check=True)
        path.unlink()
    yield [key for _, key in saved]
    os.kill(int(variables["SSH_AGENT_PID"]), 15)


@pytest.fixture
def server(agent: list[paramiko.PKey]) -> Iterator[SshServer]:
    """A server that hangs up after four refused keys, as our sshd settings do on cloud machines."""
    with running_ssh_server(allowed=[agent[RIGHT]], max_tries=4) as server:
        yield server


@pytest.fixture
def there(server: SshServer) -> SshTarget:
    return ssh_target(address="127.0.0.1", ssh_port=server.port, host_keys=[server.host_key_line])


def log_in(there: SshTarget) -> None:
    with connect(there):
        pass


def test_fifth_of_six_keys_logs_in_and_is_then_the_only_offer(
    server: SshServer, there: SshTarget, agent: list[paramiko.PKey], tmp_path: Path
) -> None:
    """Once the fifth key logged in before our sshd file was there, and "No existing session" came after."""
    log_in(there)
    assert [len(offered) for offered in server.tries] == [4, 1]
    log_in(there)
    right = agent[RIGHT].get_base64()
    assert server.tries[2:] == [[right]]
    known = known_login_file(there, tmp_path)
    assert known
    assert known.read_text().split() == ["ssh-ed25519", right]


def test_other_keys_are_offered_when_the_noted_key_fails(
    server: SshServer, there: SshTarget, agent: list[paramiko.PKey]
) -> None:
    log_in(there)
    server.allowed[:] = [agent[1]]
    log_in(there)
    known = known_login(there)
    assert known
    assert known["key"].split()[1] == agent[1].get_base64()


def test_host_that_accepts_no_key_is_reported(server: SshServer, there: SshTarget) -> None:
    server.allowed.clear()
    with pytest.raises(LoginError, match="login as admin with the SSH agent's keys and the usual files refused"):
        log_in(there)
    assert sum(map(len, server.tries)) == KEYS


def test_the_usual_file_is_found_beside_an_agent(server: SshServer, there: SshTarget, tmp_path: Path) -> None:
    path, key = saved_key(tmp_path / ".ssh" / "id_ed25519")
    server.allowed[:] = [key]
    log_in(there)
    assert known_login_file(there, tmp_path) == path
    path.rename(path.with_name("moved"))  # an SSH agent may still hold the key
    known = known_login_file(there, tmp_path)
    assert known
    assert known.read_text().split()[1] == key.get_base64()


def test_the_inventorys_key_is_the_only_one(server: SshServer, there: SshTarget, tmp_path: Path) -> None:
    path, _ = saved_key(tmp_path / "other")
    with pytest.raises(LoginError, match=f"login as admin with {path} refused"):
        log_in(replace(there, identity_file=path))
    assert [len(offered) for offered in server.tries] == [1]


@pytest.mark.parametrize("user", ["CORP\\ann", "ann@corp.example.com"])
def test_a_login_of_a_directory_service_reaches_the_host_as_it_is(
    server: SshServer, there: SshTarget, user: str
) -> None:
    there = ssh_target(user=user, address=there.address, ssh_port=there.ssh_port, host_keys=there.host_keys)
    log_in(there)
    assert set(server.users) == {user}
    assert known_login(there)
