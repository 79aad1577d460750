"""Processes are told apart also when a number is used again."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.processes import Process, boot_id


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a session with one child in it, and one child that left it."""
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


def test_a_process_is_found_and_told_from_one_that_started_earlier(leader: "subprocess.Popen[bytes]") -> None:
    found = of(leader)

    assert found.is_running()
    assert not replace(found, start_ticks=found.start_ticks - 1).is_running()
    assert not replace(found, boot="another").is_running()
    assert Process.parse(str(found)) == found


@pytest.mark.parametrize("line", ["", "12", "12 34", "a b c"])
def test_half_a_line_names_no_process(line: str) -> None:
    assert Process.parse(line) is None


def test_a_process_that_waits_to_be_reaped_has_ended(leader: "subprocess.Popen[bytes]") -> None:
    found = of(leader)
    assert leader.stdin is not None
    leader.stdin.close()
    with subprocess.Popen(["sleep", "0"]) as short:
        short.wait()
        assert Process.of_pid(short.pid) is None
    leader.wait()

    assert not found.is_running()
    found.send(signal.SIGKILL)


def test_the_members_of_a_session_are_found_after_its_leader_died(leader: "subprocess.Popen[bytes]") -> None:
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


def test_a_session_whose_number_was_given_away_has_no_members(leader: "subprocess.Popen[bytes]") -> None:
    found = of(leader)

    assert replace(found, start_ticks=found.start_ticks - 1).session_members() == []
