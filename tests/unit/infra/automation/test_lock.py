"""One operation per stack at a time, and recovery from an interrupted one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import DeployError
from core.processes import Process
from infra.automation.lock import await_engine, operation, passed_on, stop_engine, sweep


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    return tmp_path


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a session, with a child in it."""
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def stubborn() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ignores SIGTERM."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def marked(process: "subprocess.Popen[bytes]") -> Process:
    mark = Process.of_pid(process.pid)
    assert mark is not None
    return mark


def test_only_one_operation_at_a_time_holds_a_stack() -> None:
    with (
        operation("one"),
        operation("other"),
        pytest.raises(DeployError, match="stack one: another command"),
        operation("one"),
    ):
        pass


def test_a_released_stack_can_be_held_again() -> None:
    for _ in range(2):
        with operation("one") as held:
            assert not held.interrupted


def test_the_next_operation_detects_an_interrupted_one(sleeper: "subprocess.Popen[bytes]") -> None:
    with operation("one") as held:
        held.started(marked(sleeper))
    sleeper.kill()
    sleeper.wait()

    with operation("one") as held:
        assert held.interrupted
        held.ended_well()
    with operation("one") as held:
        assert not held.interrupted


def test_sweep_ends_the_child_processes_of_a_killed_engine(sleeper: "subprocess.Popen[bytes]") -> None:
    engine = marked(sleeper)
    sleeper.kill()
    sleeper.wait()
    (child,) = engine.session_members()
    assert child.is_running()

    sweep(engine)

    assert not child.is_running()


def test_an_engine_that_never_ends_is_reported_after_the_deadline(sleeper: "subprocess.Popen[bytes]") -> None:
    now = [0.0]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds

    with pytest.raises(DeployError, match=f"process {sleeper.pid}.*kill {sleeper.pid}"):
        await_engine(marked(sleeper), deadline_s=2.0, clock=lambda: now[0], sleep=sleep)

    assert 2.0 <= sum(naps) < 2.5


def test_stop_sends_the_engine_a_sigterm(sleeper: "subprocess.Popen[bytes]") -> None:
    stop_engine(marked(sleeper), deadline_s=30, sleep=lambda _: None)

    assert sleeper.wait() == -signal.SIGTERM


def test_stop_kills_an_engine_that_ignores_sigterm(stubborn: "subprocess.Popen[bytes]") -> None:
    stop_engine(marked(stubborn), deadline_s=0, sleep=lambda _: None)

    assert stubborn.wait() == -signal.SIGKILL


def test_does_not_wait_for_an_engine_that_has_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    engine = marked(sleeper)
    sleeper.kill()
    sleeper.wait()

    await_engine(engine, sleep=lambda _: pytest.fail("waited"))


@pytest.mark.parametrize(
    ("number", "at_terminal", "ends"),
    [
        (signal.SIGTERM, True, True),
        (signal.SIGHUP, True, True),
        (signal.SIGINT, False, True),
        (signal.SIGINT, True, False),
    ],
    ids=["SIGTERM", "SIGHUP", "SIGINT from a script", "Ctrl-C"],
)
def test_passes_on_every_signal_except_ctrl_c_at_a_terminal(
    number: signal.Signals, at_terminal: bool, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal sends Ctrl-C to Pulumi itself; a second one would make Pulumi stop in the middle of a step."""
    monkeypatch.setattr(os, "isatty", lambda _descriptor: at_terminal)
    before = signal.signal(number, signal.SIG_DFL)  # the child inherits an ignored signal: nohup ignores SIGHUP
    with subprocess.Popen(["sleep", "60"]) as process:
        signal.signal(number, before)
        with passed_on(process):
            signal.raise_signal(number)
        if not ends:
            assert process.poll() is None
            process.kill()
        assert process.wait() == (-number if ends else -signal.SIGKILL)
