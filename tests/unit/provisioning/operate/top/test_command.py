"""The command `top`: JSON for scripts, a host that hangs, and Ctrl-C in a real terminal."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from core.paths import CHECKOUT
from provisioning.hosts.inventory import load_to_look
from provisioning.hosts.target import Target
from provisioning.operate.top import command
from provisioning.ssh.target import SshTarget
from tests.gateways import wait_for
from tests.unit.provisioning.operate.top.reports import engine, gateway, server
from tests.unit.provisioning.records import host_values, stack_values


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Two hosts of an inventory."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    (tmp_path / "hosts.json").write_text(json.dumps(stack_values(host_values("one"), host_values("two"))))
    return Target("", str(tmp_path / "hosts.json"))


def play(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let host one answer, and host two hang for ever."""
    ticks = iter(range(1, 1_000_000))

    @contextmanager
    def connect(host: SshTarget) -> Iterator[SshTarget]:
        yield host

    def ask(_: Any, host: SshTarget, name: str, question: str) -> Any:
        assert name == "host/top_report"
        assert json.loads(question)["pools"] == ["main"]
        if host.name == "two":
            threading.Event().wait()
        tick = next(ticks)
        return gateway(server("one", running=1), engine=engine(100 * tick), monotonic=float(tick))

    monkeypatch.setattr(command, "connect", connect)
    monkeypatch.setattr(command, "ask_program", ask)


def test_json_for_scripts_with_a_host_that_hangs(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch)
    monkeypatch.setattr(command, "ONCE_REFRESH_S", 0.01)
    monkeypatch.setattr(command, "ONCE_S", 0.5)
    monkeypatch.setattr(command, "SILENT_S", 0.3)
    assert command.run(target, names=[], once=True, as_json=True) == 1
    seen = json.loads(capsys.readouterr().out)
    one, two = seen["hosts"]
    assert (one["name"], one["state"], one["answer_tokens_s"]) == ("one", "UP", 100)
    assert (two["name"], two["state"], two["answer_tokens_s"]) == ("two", "no answer", None)
    assert (seen["stack"], seen["waiting"], seen["answer_tokens_s"]) == ("test", 0, 100)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", seen["at"])


def test_all_hosts_answered(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch)
    monkeypatch.setattr(command, "ONCE_REFRESH_S", 0.01)
    assert command.run(target, names=["one"], once=True, as_json=False) == 0
    seen = capsys.readouterr()
    assert "one   UP" in seen.out
    assert "\x1b" not in seen.out
    assert "next: " in seen.err


def test_an_error_of_a_host_is_shown_until_it_answers_again(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch)
    answers, works = getattr(command, "ask_program"), threading.Event()  # noqa: B009  # the played one

    def ask(*asked: Any) -> Any:
        if not works.is_set():
            raise HostError("the connection was cut", where="one")
        return answers(*asked)

    monkeypatch.setattr(command, "ask_program", ask)
    outputs = load_to_look(target)
    watch = command.Watch(outputs, outputs.hosts[0], 0.01)
    try:
        wait_for(lambda: watch.seen().error, "the error")
        assert "the connection was cut" in watch.seen().error
        works.set()
        wait_for(lambda: watch.seen().latest and not watch.seen().error, "an answer")
    finally:
        watch.end()


LIVE = f"""
import sys, pytest
sys.path.insert(0, {str(CHECKOUT)!r})
from provisioning.hosts.target import Target
from provisioning.operate.top import command
from tests.unit.provisioning.operate.top.test_command import play
play(pytest.MonkeyPatch())
command.REFRESH_S = command.DRAW_S = 0.05
sys.exit(command.run(Target("", sys.argv[1]), names=[], once=False, as_json=False))
"""


def test_in_a_terminal_it_draws_until_ctrl_c_and_leaves_the_last_view(target: Target, tmp_path: Path) -> None:
    (tmp_path / "live.py").write_text(LIVE)
    main, side = pty.openpty()
    argv = [sys.executable, str(tmp_path / "live.py"), str(target.inventory)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90", "LINES": "30"}
    with subprocess.Popen(argv, stdin=side, stdout=side, stderr=subprocess.PIPE, env=environment) as process:
        os.close(side)
        drawn = bytearray()

        def read() -> None:
            try:
                while block := os.read(main, 65536):
                    drawn.extend(block)
            except OSError:  # the process has ended
                pass

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_for(lambda: drawn.count(b"tokens/s") > 3 and b"UP" in drawn, "some drawings")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    reader.join(60)
    os.close(main)
    assert process.returncode == 1, "one host never answered"
    assert b"Traceback" not in errors
    text = drawn.decode()
    assert "\x1b[?1049h" in text, "it draws on the other screen"
    last = text.rpartition("\x1b[?1049l")[2]
    assert "hosts not up" in last
    assert "\x1b[?25h" in text, "the cursor is back"
