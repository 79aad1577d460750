"""What goes wrong on the controlling machine while a host is served is told as that, not as the connection's fault."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError, HostError
from provisioning.converge import controller
from provisioning.converge.controller import _Talk, confirmations
from provisioning.converge.parcel import Parcel
from provisioning.host_words import MARK
from provisioning.roles.base import base
from serving.spec import GatewaySpec
from tests.unit.provisioning.records import host

UNREADABLE = Path("/proc/self/mem")
"""Can be opened; reading its start fails, as on a disk with a bad block."""


class Saying:
    """A channel whose agent says some events, and then is cut off."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._lines = [f"{MARK}\n".encode(), *(json.dumps(event).encode() + b"\n" for event in events), b""]

    def sendall(self, _: bytes) -> None:
        pass

    def recv(self, _: int) -> bytes:
        return self._lines.pop(0)


def test_a_local_file_that_cannot_be_read_is_named() -> None:
    channel: Any = Saying({"event": "need", "pieces": [["ab", 0, 10]]})
    talk = _Talk(host(), Parcel(document={}, blobs={"ab": UNREADABLE}), lambda *_: None)
    with pytest.raises(DeployError, match=r"/proc/self/mem: cannot be read \(Input/output error\)"):
        talk.run(channel)


WAITS = {"event": "progress", "id": "command:firewall", "text": "waiting for a new connection", "fraction": None}
END = {"event": "end", "phases": {}}


@pytest.mark.parametrize("reachable", [True, False])
def test_new_firewall_rules_are_confirmed_over_a_new_connection(
    monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    """Once, and not before the host waits for it; a host that lets none in is left to bring its rules back."""
    done: list[str] = []

    @contextlib.contextmanager
    def connect(_: object) -> Iterator[str]:
        done.append("connected")
        if not reachable:
            raise HostError("no answer")
        yield "connection"

    monkeypatch.setattr(controller, "connect", connect)
    monkeypatch.setattr(controller, "run_program", lambda _, __, *words: done.append(" ".join(words)))
    silent = {**WAITS, "text": ""}
    channel: Any = Saying({**WAITS, "id": "command:other"}, silent, WAITS, WAITS, END)
    asked = confirmations(base(host(), GatewaySpec()))
    talk = _Talk(host(), Parcel(document={}), lambda *_: None, asked)
    talk.run(channel)
    assert done == ["connected", *(["firewall_trial confirm"] if reachable else [])]
