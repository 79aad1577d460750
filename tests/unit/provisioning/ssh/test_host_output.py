"""What a host prints around an answer never becomes the answer, and never hides the real error."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import HostError
from provisioning.hosts.look import look
from provisioning.ssh.connection import connect
from provisioning.ssh.host_output import MARK, Frame, own_words, read_json, without_warnings
from provisioning.ssh.remote import ConnectionCutError, NoCommandsError, ask_program, stream
from provisioning.ssh.target import SshTarget
from tests.doubles.ssh_server import SshServer, running_ssh_server
from tests.ssh_keys import saved_key
from tests.unit.provisioning.records import ssh_target

START_FILES = {
    "quiet": "",
    "a greeting": "echo Welcome to gpu-3; echo",
    "no newline at its end": "printf 'Welcome {\"event\": 1}'",
    "JSON": 'echo \'{"event": "end"}\'; echo "[1]"',
    "half a JSON": "echo '{not json'",
    "Windows lines": "printf 'Willkommen\\r\\n'",
    "on stderr": "echo 'bash: warning: setlocale: LC_ALL: cannot change locale (de_DE)' >&2",
    "much": "seq 100000",
    "much on stderr": "seq 500000 >&2",
    "no text": "printf '\\377\\376\\n'",
}


@pytest.fixture
def server(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    with running_ssh_server() as server:
        yield server


@pytest.fixture
def there(server: SshServer, tmp_path: Any) -> SshTarget:
    """The server as a host; `root`, so that no sudo is in between."""
    path, key = saved_key(tmp_path / "key")
    server.allowed.append(key)
    return ssh_target(
        address="127.0.0.1",
        ssh_port=server.port,
        user="root",
        host_keys=[server.host_key_line],
        identity_file=str(path),
    )


@pytest.mark.parametrize("start_file", START_FILES.values(), ids=START_FILES.keys())
def test_output_of_a_login_script_is_ignored(server: SshServer, there: SshTarget, start_file: str) -> None:
    """Once `adopt` called such a host a proxy for terminals, and `status` ended in a JSONDecodeError."""
    server.start_file = start_file
    assert look(there).cpu_count > 0
    with connect(there) as connection:
        assert "".join(stream(connection, there, ("echo", "ä✓"))) == "ä✓\n"


@pytest.mark.parametrize("start_file", ["exit 0", "exec cat >/dev/null", "echo 'Please log in as ubuntu'; exit 142"])
def test_login_script_that_runs_no_command_is_reported(server: SshServer, there: SshTarget, start_file: str) -> None:
    server.start_file = start_file
    with connect(there) as connection, pytest.raises(NoCommandsError) as caught:
        ask_program(connection, there, "host/look_at_host")
    assert "does not run commands over SSH" in str(caught.value)
    assert ("log in as ubuntu" in caught.value.detail) == ("ubuntu" in start_file)


@pytest.mark.timeout(120)
def test_endless_login_script_is_reported_in_one_line(server: SshServer, there: SshTarget) -> None:
    """Once its output was searched from the start with each block, and kept in memory without a limit."""
    server.start_file = "yes | head -c 40000000"
    with connect(there) as connection, pytest.raises(NoCommandsError):
        ask_program(connection, there, "host/look_at_host")


def test_failure_is_reported_without_earlier_warnings(server: SshServer, there: SshTarget) -> None:
    server.start_file = "echo 'mesg: ttyname failed: Inappropriate ioctl for device' >&2"
    with connect(there) as connection, pytest.raises(HostError) as caught:
        list(stream(connection, there, ("sh", "-c", "echo 'perl: warning: Setting locale failed.' >&2; ls /nowhere")))
    assert caught.value.detail.startswith("ls: cannot access '/nowhere'")


RESOLVE = "sudo: unable to resolve host gpu-3: Name or service not known"
STDERR = {
    "a name that does not resolve": (f"{RESOLVE}\nsudo: a password is required", "sudo: a password is required"),
    "nothing but that": (RESOLVE, RESOLVE),
    "bash's locale": (
        "bash: warning: setlocale: LC_ALL: cannot change locale (en_US.UTF-8): No such file or directory\nE: no space",
        "E: no space",
    ),
    "perl's locale": (
        "perl: warning: Setting locale failed.\nperl: warning: Please check that your locale settings:\n"
        '\tLANGUAGE = (unset),\n\tLC_ALL = "de_DE"\n    are supported and installed on your system.\n'
        'perl: warning: Falling back to the standard locale ("C").\ndpkg: error: locked',
        "dpkg: error: locked",
    ),
    "a host that ssh takes in": ("Warning: Permanently added '10.0.0.4' (ED25519) to the list.\nnope", "nope"),
    "no terminal": ("stdin: is not a tty\ntput: No value for $TERM and no -T specified\nnope", "nope"),
    "two real lines": ("one\n\ntwo", "one\ntwo"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("said", "wanted"), STDERR.values(), ids=STDERR.keys())
def test_harmless_warnings_are_never_the_cause(said: str, wanted: str) -> None:
    assert without_warnings(said) == wanted


def test_stderr_before_the_mark_is_not_the_commands() -> None:
    assert own_words(f"loading modules\n{MARK}\nno such model".encode()) == "no such model"
    assert own_words(f"loading modules\n{MARK}\n".encode()) == "loading modules"


def test_the_mark_may_come_in_pieces() -> None:
    frame = Frame()
    whole = f"hello\r\n{MARK}\r\n".encode() + b"answer"
    assert b"".join(frame.take(whole[at : at + 1]) for at in range(len(whole))) == b"answer"
    assert frame.noise == b"hello\r"


ANSWERS = {
    "alone": '{"a": 1}\n',
    "after a warning": 'UserWarning: old\n{"a": 1}\n',
    "before a job's end": '{"a": 1}\n[1]\n[1]+  Done    sleep 1\n',
    "Windows lines": '{"a": 1}\r\n',
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS.keys())
def test_the_answer_is_the_line_that_is_json(said: str) -> None:
    assert read_json(said, where="one") == {"a": 1}


@pytest.mark.parametrize("said", ["", "hello", "{", "[" * 100_000, json.dumps([1])])
def test_output_without_json_is_an_error(said: str) -> None:
    with pytest.raises(HostError, match="one: gave an answer that cannot be read"):
        read_json(said, where="one")


def test_a_session_that_the_host_does_not_open_is_a_cut_connection(
    there: SshTarget,
) -> None:
    """paramiko's exception ended `provision` with a traceback."""
    with connect(there) as connection:
        connection.transport.close()
        with pytest.raises(ConnectionCutError, match="the connection was cut"):
            list(stream(connection, there, ("true",)))
