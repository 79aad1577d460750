"""A rented machine is waited for while it boots; everything else is told at once."""

import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from provisioning import arrival
from provisioning.arrival import PATIENCE_S, SECOND_TRIES, open_when_up, patience_s, second_login
from provisioning.connection import LoginError, NoAnswerError, OtherHostError, Reachable
from tests.doubles.ssh_server import running_ssh_server
from tests.ssh_keys import saved_key
from tests.unit.provisioning.records import host


class Booting:
    """A host that refuses connections until it is up, or answers with something else."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, _host: Reachable) -> Any:
        self.asked += 1
        if self.answers:
            raise self.answers.pop(0)
        return "a connection"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "PAUSE_S", 0.001)


@pytest.mark.parametrize(
    ("cloud", "seconds"), [("aws", PATIENCE_S), ("gcp", PATIENCE_S), ("local", 0.0), ("existing", 0.0)]
)
def test_only_rented_machines_are_waited_for(cloud: str, seconds: float) -> None:
    assert patience_s(cloud) == seconds


def test_a_machine_that_boots_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Booting(NoAnswerError("refused"), NoAnswerError("no answer"))

    assert open_when_up(host(), 60, threading.Event(), connect=machine) == "a connection"
    assert machine.asked == 3
    assert capsys.readouterr().err.count("does not answer yet; trying again for up to 60 s") == 1


def test_without_patience_silence_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Booting(NoAnswerError("refused"))

    with pytest.raises(NoAnswerError, match="refused"):
        open_when_up(host(), 0, threading.Event(), connect=machine)
    assert capsys.readouterr().err == ""


def test_what_an_answering_host_says_is_told_at_once() -> None:
    machine = Booting(HostError("the host key is not the known one"))

    with pytest.raises(HostError, match="host key"):
        open_when_up(host(), 60, threading.Event(), connect=machine)
    assert machine.asked == 1


def test_a_command_that_ends_waits_no_longer() -> None:
    given_up = threading.Event()
    given_up.set()

    with pytest.raises(NoAnswerError, match="refused"):
        open_when_up(host(), 60, given_up, connect=Booting(NoAnswerError("refused")))


SECOND: dict[str, tuple[list[Exception], int, str]] = {
    "sshd listens again at the third try": ([NoAnswerError("connection refused"), HostError("cut")], 3, "works"),
    "it never does": ([NoAnswerError("connection refused")] * SECOND_TRIES, SECOND_TRIES, "connection refused"),
    "the login is refused": ([LoginError("refused")], 1, "refused"),
    "another host answers": ([OtherHostError("another key")], 1, "another key"),
}


@pytest.mark.parametrize(("answers", "calls", "said"), SECOND.values(), ids=SECOND.keys())
def test_a_second_login_is_tried_until_sshd_is_back_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, answers: list[Exception], calls: int, said: str
) -> None:
    booting = Booting(*answers)

    class Connection:
        def close(self) -> None:
            pass

    monkeypatch.setattr(arrival, "stream", lambda *_: iter(()))
    connect: Any = lambda there: booting(there) and Connection()  # noqa: E731
    assert (second_login(host(), connect=connect, sleep=lambda _: None) or "works") == said
    assert booting.asked == calls


def test_a_second_login_that_may_not_run_commands_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    path, key = saved_key(tmp_path / "key")
    with running_ssh_server(allowed=[key]) as server:
        there = host(
            address="127.0.0.1",
            ssh_port=server.port,
            user="root",
            host_keys=[server.host_key_line],
            identity_file=str(path),
        )
        assert second_login(there) == ""
        server.start_file = "exit 1"
        assert second_login(there) == "does not run commands over SSH"
