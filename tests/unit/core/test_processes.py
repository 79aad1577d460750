"""A process is identified even if the kernel reuses its pid."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.processes import Process, boot_id


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[bytes]"]:
    """The leader of a session, with one child in that session and one child in its own."""
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen(['sleep', '60'])\n"
        "away = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print(away.pid, flush=True)\n"
        "sys.stdin.read()\n"
        "away.kill()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process


def of(process: "subprocess.Popen[bytes]") -> Process:
    found = Process.of_pid(process.pid)
    assert found is not None
    return found


def test_a_process_differs_from_an_earlier_one_with_its_pid(leader: "subprocess.Popen[bytes]") -> None:
    found = of(leader)

    assert found.is_running()
    assert not replace(found, start_ticks=found.start_ticks - 1).is_running()
    assert not replace(found, boot="another").is_running()
    assert Process.parse(str(found)) == found


@pytest.mark.parametrize("line", ["", "12", "12 34", "a b c"])
def test_an_incomplete_line_is_not_a_process(line: str) -> None:
    assert Process.parse(line) is None


def test_a_zombie_has_ended(leader: "subprocess.Popen[bytes]") -> None:
    found = of(leader)
    assert leader.stdin is not None
    leader.stdin.close()
    with subprocess.Popen(["sleep", "0"]) as short:
        short.wait()
        assert Process.of_pid(short.pid) is None
    leader.wait()

    assert not found.is_running()
    found.send(signal.SIGKILL)


def test_members_of_a_session_outlive_its_leader(leader: "subprocess.Popen[bytes]") -> None:
    assert leader.stdout is not None
    away = int(leader.stdout.readline())
    found = of(leader)
    try:
        leader.kill()
        leader.wait()

        (member,) = found.session_members()
        assert member.pid not in (leader.pid, away)
        member.send(signal.SIGKILL)
        assert replace(found, boot="another").session_members() == []
    finally:
        Process(away, getattr(Process.of_pid(away), "start_ticks", 0), boot_id()).send(signal.SIGKILL)


def test_a_session_with_a_reused_pid_has_no_members(leader: "subprocess.Popen[bytes]") -> None:
    found = of(leader)

    assert replace(found, start_ticks=found.start_ticks - 1).session_members() == []
