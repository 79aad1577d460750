"""Errors of the controller during a run are reported as such, not as connection errors."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import DeployError, HostError
from provisioning.converge import controller
from provisioning.converge.controller import _Talk, confirmations
from provisioning.converge.payload import Payload
from provisioning.roles.host.base import base
from provisioning.ssh.host_output import MARK
from provisioning.ssh.remote import NoCommandsError
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host

UNREADABLE = Path("/proc/self/mem")
"""A file that opens but cannot be read, as on a disk with a bad block."""


class Saying:
    """A channel whose agent sends some events and is then cut off."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._lines = [f"{MARK}\n".encode(), *(json.dumps(event).encode() + b"\n" for event in events), b""]

    def sendall(self, _: bytes) -> None:
        pass

    def recv(self, _: int) -> bytes:
        return self._lines.pop(0)


def test_a_local_file_that_cannot_be_read_is_named() -> None:
    channel: Any = Saying({"event": "need", "pieces": [["ab", 0, 10]]})
    talk = _Talk(host(), Payload(document={}, blobs={"ab": UNREADABLE}), lambda *_: None)
    with pytest.raises(DeployError, match=r"/proc/self/mem: cannot be read \(Input/output error\)"):
        talk.run(channel)


WAITS = {"event": "progress", "id": "command:firewall", "text": "waiting for a new connection", "fraction": None}
END = {"event": "end", "phases": {}}


FAILED = {"event": "resource", "id": "command:firewall", "status": "failed", "error": "no new SSH connection"}


@pytest.mark.parametrize("reachable", [True, False])
def test_new_firewall_rules_are_confirmed_over_a_new_connection(
    monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    """One connection, and only when the host waits for it; a host that admits none restores its rules itself.

    A single lost packet rolled a firewall back, with an error that blamed ssh_cidrs.
    """
    done: list[str] = []

    def new_login(_: object, act: Callable[[Any], object]) -> str:
        done.append("connected")
        if not reachable:
            return "no answer within 10 s"
        act("connection")
        return ""

    monkeypatch.setattr(controller, "new_login", new_login)
    monkeypatch.setattr(controller, "run_program", lambda _, __, *words: done.append(" ".join(words)))
    silent = {**WAITS, "text": ""}
    events = [] if reachable else [FAILED]
    channel: Any = Saying({**WAITS, "id": "command:other"}, silent, WAITS, WAITS, *events, END)
    asked = confirmations(base(host(), GatewaySpec()))
    talk = _Talk(host(), Payload(document={}), lambda *_: None, asked)
    talk.run(channel)
    assert done == ["connected", *(["firewall/firewall_trial confirm"] if reachable else [])]
    details = [each.detail for each in talk.result(0, {}).failed]
    assert details == ([] if reachable else ["the new connection failed: no answer within 10 s"])


@pytest.mark.parametrize("failed", ["", "login as admin refused"])
def test_the_agent_learns_whether_a_second_login_works(monkeypatch: pytest.MonkeyPatch, failed: str) -> None:
    """Settings of sshd are kept only if it works; the open first connection would not show a failure."""
    monkeypatch.setattr(controller, "second_login", lambda _: failed)
    sent: list[bytes] = []
    channel: Any = Saying({"event": "confirm", "id": "sshd_file:/etc/ssh/sshd_config.d/10-x.conf"}, END)
    monkeypatch.setattr(channel, "sendall", sent.append)
    _Talk(host(), Payload(document={}), lambda *_: None).run(channel)
    (answer,) = sent[1:]  # after the list
    assert json.loads(answer) == {"error": failed and f"a second login failed with it: {failed}"}


NOISE = {
    "before the agent": ([b'{"event": "end"}', b"hello", MARK.encode()], True),
    "amid its events": ([MARK.encode(), b"warning: old", b'{"level": "info"}', b"{"], True),
    "in its place": ([b'{"event": "end"}', b"hello"], False),
}


@pytest.mark.parametrize(("lines", "runs"), NOISE.values(), ids=NOISE.keys())
def test_output_of_other_programs_is_not_an_event(lines: list[bytes], runs: bool) -> None:
    """A login script that printed a brace ended a provision with a JSONDecodeError."""
    channel: Any = Saying()
    channel._lines = [*(line + b"\r\n" for line in lines), *([json.dumps(END).encode() + b"\n"] if runs else []), b""]
    channel.status_event = Event()
    channel.status_event.set()
    channel.exit_status_ready = channel.status_event.is_set
    channel.recv_exit_status = lambda: 0
    channel.recv_stderr_ready = lambda: False
    talk = _Talk(host(), Payload(document={}), lambda *_: None)
    if runs:
        talk.run(channel)
        return
    with pytest.raises(HostError, match="does not run commands over SSH") as caught:
        talk.run(channel)
    assert "hello" in caught.value.detail


def test_an_exit_status_may_come_after_the_end_of_the_output() -> None:
    """A host without python3 was at times reported as a cut connection."""
    channel: Any = Saying()
    channel._lines = [MARK.encode() + b"\r\n", b""]
    arrived = Event()
    channel.status_event = SimpleNamespace(wait=lambda _timeout: arrived.set())
    channel.exit_status_ready = arrived.is_set
    channel.recv_exit_status = lambda: 127
    channel.recv_stderr_ready = lambda: True
    channel.recv_stderr = lambda _count: f"\n{MARK}\nsh: 1: exec: python3: not found\n".encode()
    with pytest.raises(HostError, match="has no python3; install python3"):
        _Talk(host(), Payload(document={}), lambda *_: None).run(channel)


def test_endless_login_script_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "NOISE_BYTES", 10)
    channel: Any = Saying()
    channel._lines = [b"Welcome!\n"] * 1000
    with pytest.raises(NoCommandsError, match="does not run commands over SSH") as caught:
        _Talk(host(), Payload(document={}), lambda *_: None).run(channel)
    assert "Welcome!" in caught.value.detail
    assert len(channel._lines) > 990
