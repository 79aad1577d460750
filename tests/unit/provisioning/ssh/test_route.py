"""The way to a host as an OpenSSH config says: aliases, jump hosts and proxy commands, with host keys still checked."""

import getpass
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import HostError, UsageError
from provisioning.existing.adopt import AdoptOptions, parse_login, service_address
from provisioning.existing.host_key import shown_keys
from provisioning.operate.shell import ssh_arguments
from provisioning.ssh import route as ssh_route
from provisioning.ssh.connection import connect
from provisioning.ssh.known_hosts import known_hosts_text
from provisioning.ssh.remote import stream
from provisioning.ssh.route import jump_command, route, route_of
from provisioning.ssh.target import SshTarget
from tests.doubles.ssh_server import SshServer, running_ssh_server
from tests.ssh_keys import saved_key
from tests.unit.provisioning.records import ssh_target

ALIAS = "gpu_1"
NOBODY = 65534

PIPE = """\
import os, socket, sys, threading
plug = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while block := plug.recv(65536):
        os.write(1, block)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while block := os.read(0, 65536):
    plug.sendall(block)
"""
"""A ProxyCommand, as netcat would be one."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    """The host behind the jump host."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    _, key = saved_key(tmp_path / "key")
    with running_ssh_server(allowed=[key]) as server:
        yield server


@pytest.fixture
def jump(server: SshServer) -> Iterator[SshServer]:
    """The jump host."""
    with running_ssh_server(allowed=server.allowed) as jump:
        yield jump


def there(server: SshServer, tmp_path: Path, *lines: str) -> SshTarget:
    """Return the host as an inventory has it, with a config file of these lines for it."""
    config = tmp_path / "config"
    config.write_text(
        "\n".join(
            [
                *(f"Host {ALIAS}", "HostName 127.0.0.1", f"Port {server.port}", f"IdentityFile {tmp_path}/key"),
                *lines,
                "",
            ]
        )
    )
    return ssh_target(
        address=ALIAS, service_address="10.0.0.4", ssh_config=str(config), host_keys=[server.host_key_line], user="root"
    )


def jumping(server: SshServer, jump: SshServer, tmp_path: Path, known: str) -> SshTarget:
    """Return the host behind a jump host whose keys, as the user has them, are `known`."""
    (tmp_path / "known").write_text(f"[127.0.0.1]:{jump.port} {known}\n")
    front = ("Host front", "HostName 127.0.0.1", f"Port {jump.port}", f"IdentityFile {tmp_path}/key")
    trust = (f"UserKnownHostsFile {tmp_path}/known", "GlobalKnownHostsFile /dev/null", "StrictHostKeyChecking no")
    return there(server, tmp_path, "ProxyJump ops@front", *front, *trust)


def answer(record: SshTarget) -> str:
    with connect(record) as connection:
        return "".join(stream(connection, record, ("echo", "here")))


def test_an_alias_leads_to_its_address_port_and_key(server: SshServer, tmp_path: Path) -> None:
    record = there(server, tmp_path)
    assert answer(record) == "here\n"
    found = route(record)
    assert (found.address, found.port, found.identity_files) == ("127.0.0.1", server.port, (tmp_path / "key",))


def test_connects_through_a_jump_host(server: SshServer, jump: SshServer, tmp_path: Path) -> None:
    assert answer(jumping(server, jump, tmp_path, jump.host_key_line)) == "here\n"
    assert jump.forwards == [("127.0.0.1", server.port)]
    assert set(jump.users) == {"ops"}


def test_another_jump_host_than_known_is_refused(server: SshServer, jump: SshServer, tmp_path: Path) -> None:
    """Also if the user's file turns StrictHostKeyChecking off."""
    record = jumping(server, jump, tmp_path, server.host_key_line)
    with pytest.raises(HostError, match=r"the jump host or proxy command failed: (?s:.)*IDENTIFICATION HAS CHANGED"):
        answer(record)
    assert server.tries == []


def test_another_host_behind_a_jump_host_is_refused(server: SshServer, jump: SshServer, tmp_path: Path) -> None:
    record = jumping(server, jump, tmp_path, jump.host_key_line)
    with pytest.raises(HostError, match="the host key is not the known one"):
        answer(replace(record, host_keys=(jump.host_key_line,)))


def test_connects_through_a_proxy_command(server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "pipe.py").write_text(PIPE)
    record = there(server, tmp_path, f"ProxyCommand {sys.executable} {tmp_path}/pipe.py %h %p")
    assert answer(record) == "here\n"


def test_error_of_a_proxy_command_is_shown(server: SshServer, tmp_path: Path) -> None:
    record = there(server, tmp_path, "ProxyCommand sh -c 'echo no route to %h >&2; exit 1'")
    with pytest.raises(HostError, match=r"the jump host or proxy command failed: no route to 127\.0\.0\.1"):
        answer(record)


def test_adopt_shows_the_key_of_the_host_behind(server: SshServer, jump: SshServer, tmp_path: Path) -> None:
    config = jumping(server, jump, tmp_path, jump.host_key_line).ssh_config
    door = parse_login(AdoptOptions(login=f"root@{ALIAS}", ssh_config=str(config), name="gpu1"))
    assert shown_keys(door) == (server.host_key_line,)
    assert service_address(door) == "127.0.0.1"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "there is no file"), ("Nonsense yes\n", "Bad configuration option")]
)
def test_unusable_ssh_config_is_reported(tmp_path: Path, content: str | None, words: str) -> None:
    config = tmp_path / f"config-{content is None}"
    if content is not None:
        config.write_text(content)
    with pytest.raises(UsageError, match=words):
        route(ssh_target(ssh_config=str(config)))


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not look into, even if it began as root."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    began_as = os.geteuid()
    if began_as == 0:
        os.seteuid(NOBODY)
    yield folder
    os.seteuid(began_as)


def test_a_config_in_a_closed_folder_is_refused_in_words(closed_folder: Path) -> None:
    """Once Path.is_file ended every command with a PermissionError."""
    with pytest.raises(UsageError, match=r"there is no file .* that you may read"):
        route(ssh_target(ssh_config=str(closed_folder / "config")))


def test_keys_without_access_are_ignored(closed_folder: Path) -> None:
    """OpenSSH skips them too. Once a closed folder or the home of an unknown user ended every command."""
    names = (f"{closed_folder}/id", "~no-such-user/id", "/no/such/id")
    said = "hostname h\nport 22\n" + "".join(f"identityfile {name}\n" for name in names)
    assert route_of(said, Path("/c"), "ann", "gpu_1").identity_files == ()


def test_tokens_of_an_identity_file_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ssh -G` prints %d and %h as they are; the key was once left out, and the login refused."""
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ["gpu1-22", "gpu_1", getpass.getuser(), "same"]
    for name in names:
        (tmp_path / name).touch()
    files = "".join(f"identityfile %d/{each}\n" for each in ("%h-%p", "%n", "%u", "%k"))
    said = f"hostname gpu1\nport 22\nhostkeyalias same\n{files}"
    assert route_of(said, Path("/c"), "ann", "gpu_1").identity_files == tuple(tmp_path / name for name in names)


def test_slow_ssh_config_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Match exec` of a program that waits once was a traceback."""
    monkeypatch.setattr(ssh_route, "QUESTION_S", 0.3)
    config = tmp_path / "config"
    config.write_text('Match exec "sleep 600"\n  Port 7\n')
    with pytest.raises(UsageError, match=r"ssh -G did not end within 0\.3 s; does it have a slow `Match exec`"):
        route(ssh_target(address="slow", ssh_config=str(config)))


def test_a_proxy_command_that_ignores_the_signal_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was waited for without a limit."""
    monkeypatch.setattr(ssh_route, "JUMP_ANSWER_S", 0.3)
    monkeypatch.setattr(ssh_route, "END_S", 0.3)
    with pytest.raises(HostError, match="the jump host or proxy command failed"):
        ssh_route.open_proxy(("sh", "-c", "trap '' TERM; while :; do sleep 1; done"), "gpu_1")


def test_make_ssh_reads_the_same_file_and_trusts_the_same_keys() -> None:
    record = ssh_target(address="gpu1", ssh_config="/c")
    arguments = ssh_arguments(record, Path("/known"))
    assert arguments[:5] == ["ssh", "-F", "/c", "-o", "HostKeyAlias=gpu1"]
    assert "-p" not in arguments  # the file's Port counts
    assert known_hosts_text([record]).startswith("gpu1 ssh-ed25519 ")


JUMPS = {
    "one": ("front", ("ssh://front",)),
    "user and port": ("ops@front:2222", ("ssh://ops@front:2222",)),
    "two": ("first,ssh://second:22", ("-J", "first", "ssh://second:22")),
}


@pytest.mark.parametrize(("jumps", "wanted"), JUMPS.values(), ids=JUMPS.keys())
def test_jump_hosts_are_used_in_their_order(jumps: str, wanted: tuple[str, ...]) -> None:
    command = jump_command(jumps, Path("/c"), "fe80::1", 22)
    assert [each for each in command if each in wanted] == list(wanted)
    assert command[-2] == "[fe80::1]:22"
    assert "StrictHostKeyChecking=yes" in command


def test_tokens_of_a_proxy_command_are_filled_in() -> None:
    said = "hostname h\nport 22\nproxycommand nc -x %%p %h %p %r %n\n"
    assert route_of(said, Path("/c"), "ann", "gpu_1").proxy == ("sh", "-c", "exec nc -x %p h 22 ann gpu_1")


def test_host_without_ssh_config_is_reached_directly() -> None:
    found = route(ssh_target(ssh_port=2222))
    assert (found.address, found.port, found.proxy) == ("203.0.113.7", 2222, ())
