"""A start of a unit whose process first dies several times: what the agent waits for. systemd is a double."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from provisioning.converge.agent.events import Failure
from provisioning.converge.agent.kinds import unit

LEFT_OUT = r"(\S+) ended it"
START = [("start", "start")]


class PlayedSystemd:
    """One unit: it dies with each of `lives` as its journal, then it is ready. Each query finds the next life."""

    def __init__(self, *lives: str, limit: int) -> None:
        self._lives = list(lives)
        self._limit = limit
        self._starts = 0
        self.restarts = 0
        self.journal = ""
        self.sub_state = ""
        self.clock = 0.0
        self.asked: list[str] = []
        self.slept: list[float] = []

    def show(self, units: list[str]) -> dict[str, dict[str, str]]:
        return {units[0]: {**dict.fromkeys(unit.PROPERTIES, ""), "LoadState": "loaded", **self._state()}}

    def _state(self) -> dict[str, str]:
        state = "failed" if self._starts >= self._limit else "activating" if self._lives else "active"
        return {"ActiveState": state, "SubState": self.sub_state, "NRestarts": str(self.restarts), "Type": "exec"}

    def run(self, words: list[str], **_: Any) -> Any:
        self.asked.append(words[1])
        if words[:2] == ["systemctl", "reset-failed"]:
            self.restarts = self._starts = 0
        said = self.journal if words[0] == "journalctl" else ""
        return SimpleNamespace(status=0, output=said, must=lambda: None)

    def sleep(self, seconds: float) -> None:
        """One life passes, which takes 100 s."""
        self.slept.append(seconds)
        if self._lives and self._starts < self._limit:
            self.journal += self._lives.pop(0)
            self.restarts += 1
            self._starts += 1
            self.clock += 100


class Ready:
    """The `ready` command, which succeeds: it is asked only once the unit is active."""

    def __init__(self, _: Any) -> None:
        self.wait = lambda _: 0
        self.last_line = str
        self.end = self.close = lambda: None


def start(
    monkeypatch: pytest.MonkeyPatch, systemd: PlayedSystemd, changes: Sequence[tuple[str, str]] = START
) -> list[str]:
    """Start the unit; return the texts of its progress."""
    texts: list[str] = []
    monkeypatch.setattr(unit, "show", systemd.show)
    monkeypatch.setattr(unit, "run", systemd.run)
    monkeypatch.setattr(unit, "Process", Ready)
    monkeypatch.setattr(
        unit, "time", SimpleNamespace(sleep=systemd.sleep, monotonic=lambda: systemd.clock, time=lambda: 0.0)
    )
    events = SimpleNamespace(progress=lambda _, text: texts.append(text), controller_gone=lambda: False)
    host: Any = SimpleNamespace(events=events, state=SimpleNamespace(set_due=lambda _: None))
    wanted = SimpleNamespace(
        id="unit:x", name="x", ready=("ready",), ready_timeout_s=150, undo=(), passing="", left_out=LEFT_OUT
    )
    unit.apply(wanted, {"CanReload": "no"}, changes, host)
    return texts


def test_a_program_that_runs_but_is_not_ready_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person saw `activating (start-post)` for three minutes, while vLLM loaded the model."""
    systemd = PlayedSystemd("a@1 ended it\n", "b@1 ended it\n", limit=5)
    systemd.sub_state = "start-post"
    assert "activating (start-post): the program runs, but is not ready yet" in start(monkeypatch, systemd)


def test_the_agent_waits_for_a_unit_that_leaves_out_one_thing_after_each_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two adapters that each ended the engine failed a provision; six would have reached systemd's start limit."""
    start(monkeypatch, PlayedSystemd(*(f"{name}@1 ended it\n" for name in "abcdef"), limit=5))


@pytest.mark.parametrize(
    ("lives", "what"),
    [
        (["odd\n"] * 5, "died 2 times after its start"),
        (["a@1 ended it\n", *["odd\n"] * 5], "died 3 times after its start"),
    ],
)
def test_a_unit_that_dies_of_something_else_fails(monkeypatch: pytest.MonkeyPatch, lives: list[str], what: str) -> None:
    with pytest.raises(Failure) as failed:
        start(monkeypatch, PlayedSystemd(*lives, limit=5))
    assert failed.value.what == what


def test_a_unit_that_starts_at_once_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = PlayedSystemd(limit=5)
    start(monkeypatch, systemd)
    assert systemd.slept == [unit.FIRST_POLL_S]


@pytest.mark.parametrize(
    ("verbs", "asked"),
    [
        (("daemon-reload", "enable", "start"), ["enable", "reset-failed", "--no-block"]),
        (("daemon-reload", "start"), ["daemon-reload", "reset-failed", "--no-block"]),
    ],
)
def test_systemd_reads_its_unit_files_once(
    monkeypatch: pytest.MonkeyPatch, verbs: Sequence[str], asked: list[str]
) -> None:
    """`systemctl enable` makes systemd read them too."""
    systemd = PlayedSystemd(limit=5)
    start(monkeypatch, systemd, [(verb, verb) for verb in verbs])
    assert systemd.asked == asked
