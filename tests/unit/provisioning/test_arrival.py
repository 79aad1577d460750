"""A rented machine is waited for while it boots; everything else is told at once."""

import threading
from typing import Any

import pytest

from core.errors import HostError
from provisioning import arrival
from provisioning.arrival import PATIENCE_S, open_when_up, patience_s
from provisioning.connection import NoAnswerError, Reachable
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
