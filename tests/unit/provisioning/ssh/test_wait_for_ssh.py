"""A cloud machine is waited for while it boots; every other failure is reported at once."""

import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from provisioning.ssh import wait_for_ssh
from provisioning.ssh.connection import LoginError, NoAnswerError, OtherHostError
from provisioning.ssh.remote import ConnectionCutError
from provisioning.ssh.target import SshTarget
from provisioning.ssh.wait_for_ssh import NEW_LOGIN_S, PATIENCE_S, new_login, open_when_up, patience_s, second_login
from tests.doubles.ssh_server import running_ssh_server
from tests.ssh_keys import saved_key
from tests.unit.provisioning.records import ssh_target


class Booting:
    """A host that refuses connections until it is up, or answers with something else."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, _host: SshTarget) -> Any:
        self.asked += 1
        if self.answers:
            raise self.answers.pop(0)
        return "a connection"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_for_ssh, "PAUSE_S", 0.001)


@pytest.mark.parametrize(
    ("cloud", "seconds"), [("aws", PATIENCE_S), ("gcp", PATIENCE_S), ("local", 0.0), ("existing", 0.0)]
)
def test_only_cloud_machines_are_waited_for(cloud: str, seconds: float) -> None:
    assert patience_s(cloud) == seconds


def test_a_machine_that_boots_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Booting(NoAnswerError("refused"), NoAnswerError("no answer"))

    assert open_when_up(ssh_target(), 60, threading.Event(), connect=machine) == "a connection"
    assert machine.asked == 3
    assert capsys.readouterr().err.count("does not answer yet; trying again for up to 60 s") == 1


def test_without_patience_no_answer_is_an_error_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Booting(NoAnswerError("refused"))

    with pytest.raises(NoAnswerError, match="refused"):
        open_when_up(ssh_target(), 0, threading.Event(), connect=machine)
    assert capsys.readouterr().err == ""


def test_refusal_by_a_host_is_not_retried() -> None:
    machine = Booting(HostError("the host key is not the known one"))

    with pytest.raises(HostError, match="host key"):
        open_when_up(ssh_target(), 60, threading.Event(), connect=machine)
    assert machine.asked == 1


def test_waiting_ends_with_the_command() -> None:
    given_up = threading.Event()
    given_up.set()

    with pytest.raises(NoAnswerError, match="refused"):
        open_when_up(ssh_target(), 60, given_up, connect=Booting(NoAnswerError("refused")))


class Clock:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Connection:
    def close(self) -> None:
        pass


FOREVER: list[HostError] = [NoAnswerError("connection refused")] * 100

SECOND: dict[str, tuple[list[HostError], bool, str]] = {
    "sshd listens again at the third try": ([NoAnswerError("connection refused"), HostError("cut")], True, ""),
    "it never does": (FOREVER, True, "connection refused"),
    "the login is refused": ([LoginError("refused")], False, "refused"),
    "another host answers": ([OtherHostError("another key")], False, "another key"),
}


@pytest.mark.parametrize(("answers", "again", "said"), SECOND.values(), ids=SECOND.keys())
def test_a_second_login_is_tried_until_sshd_is_back_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, answers: list[HostError], again: bool, said: str
) -> None:
    booting, clock = Booting(*answers), Clock()
    monkeypatch.setattr(wait_for_ssh, "stream", lambda *_: iter(()))
    connect: Any = lambda there: booting(there) and Connection()  # noqa: E731
    assert second_login(ssh_target(), connect=connect, sleep=clock.sleep, clock=clock) == said
    assert (booting.asked > 1) == again
    assert clock.now < NEW_LOGIN_S
    assert (clock.now > NEW_LOGIN_S - 2) == (answers is FOREVER)


ACTS: dict[str, tuple[list[HostError], int, str]] = {
    "the connection is cut once": ([ConnectionCutError(ssh_target())], 2, ""),
    "the command fails": ([HostError("python3 ended with status 1")], 1, "python3 ended with status 1"),
}


@pytest.mark.parametrize(("failures", "tries", "said"), ACTS.values(), ids=ACTS.keys())
def test_action_over_a_new_login_is_retried_after_a_cut_connection(
    failures: list[HostError], tries: int, said: str
) -> None:
    act, clock = Booting(*failures), Clock()
    connect: Any = lambda _: Connection()  # noqa: E731
    assert new_login(ssh_target(), act, connect=connect, sleep=clock.sleep, clock=clock) == said
    assert act.asked == tries


def test_second_login_must_run_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    path, key = saved_key(tmp_path / "key")
    with running_ssh_server(allowed=[key]) as server:
        there = ssh_target(
            address="127.0.0.1",
            ssh_port=server.port,
            user="root",
            host_keys=[server.host_key_line],
            identity_file=str(path),
        )
        assert second_login(there) == ""
        server.start_file = "exit 1"
        assert second_login(there) == "does not run commands over SSH"
