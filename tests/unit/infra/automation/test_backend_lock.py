"""Which locks of the backend are removed: only those of Pulumi engines that were killed on this host."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.automation.backend_lock import LockedError, unlocked
from infra.automation.engine_errors import EngineError

HERE = socket.gethostname()


class Backend:
    """A double of a backend that refuses commands while it is locked by `holders`."""

    def __init__(self, *holders: str) -> None:
        self.holders = list(holders)

    def run(self) -> str:
        if self.holders:
            lines = "\n".join(f"  file:///x: created by {holder} at now" for holder in self.holders)
            raise EngineError(f"error: the stack is currently locked by {len(self.holders)} lock(s).\n{lines}")
        return "done"

    def cancel(self) -> None:
        self.holders = []


def started(program: Path) -> "subprocess.Popen[str]":
    """Return a running process with the name of `program`. It ends when its input is closed."""
    program.write_text("#!/bin/sh\necho ready\nread -r _\n")
    program.chmod(0o755)
    process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def process_called(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Start processes by name, return their pids, and end them after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str) -> int:
        processes.append(started(tmp_path / name))
        return processes[-1].pid

    yield start
    for process in processes:
        process.communicate()


def pid_of_ended() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_the_lock_of_a_killed_engine_is_removed() -> None:
    backend = Backend(f"kim@{HERE} (pid {pid_of_ended()})")

    assert unlocked(backend.run, backend.cancel, stack="one") == "done"


def test_a_reused_pid_of_another_program_does_not_hold_the_lock(process_called: Callable[[str], int]) -> None:
    backend = Backend(f"kim@{HERE} (pid {process_called('other')})")

    assert unlocked(backend.run, backend.cancel, stack="one") == "done"


def test_the_lock_of_a_running_engine_stays(process_called: Callable[[str], int]) -> None:
    pid = process_called("pulumi")
    backend = Backend(f"kim@{HERE} (pid {pid_of_ended()})", f"lee@{HERE} (pid {pid})")

    with pytest.raises(LockedError, match=rf"^stack one: is locked by kim@.*, lee@{HERE}, process {pid}; wait until"):
        unlocked(backend.run, backend.cancel, stack="one")

    assert backend.holders


@pytest.mark.parametrize(
    ("holder", "named"),
    [
        pytest.param("kim@elsewhere (pid 1)", "kim@elsewhere, process 1", id="another host"),
        pytest.param("nobody", "another Pulumi engine", id="unknown"),
    ],
)
def test_a_lock_whose_holder_may_run_stays(holder: str, named: str) -> None:
    backend = Backend(holder)

    with pytest.raises(LockedError, match=rf"^stack one: is locked by {named}; wait until"):
        unlocked(backend.run, backend.cancel, stack="one")

    assert backend.holders == [holder]


def test_another_error_is_not_about_a_lock() -> None:
    def fail() -> None:
        raise EngineError("error: no stack named 'one' found")

    def cancel() -> None:
        raise AssertionError

    with pytest.raises(EngineError, match="no stack named"):
        unlocked(fail, cancel, stack="one")
