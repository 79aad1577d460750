"""What goes wrong on the controlling machine while a host is served is told as that, not as the connection's fault."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError
from provisioning.converge.controller import _Talk
from provisioning.converge.parcel import Parcel
from provisioning.host_words import MARK
from tests.unit.provisioning.records import host

UNREADABLE = Path("/proc/self/mem")
"""Can be opened; reading its start fails, as on a disk with a bad block."""


class Asking:
    """A channel whose agent asks for one piece of one blob."""

    def __init__(self) -> None:
        need = {"event": "need", "pieces": [["ab", 0, 10]]}
        self._lines = [f"{MARK}\n".encode(), json.dumps(need).encode() + b"\n", b""]

    def sendall(self, _: bytes) -> None:
        pass

    def recv(self, _: int) -> bytes:
        return self._lines.pop(0)


def test_a_local_file_that_cannot_be_read_is_named() -> None:
    channel: Any = Asking()
    talk = _Talk(host(), Parcel(document={}, blobs={"ab": UNREADABLE}), lambda *_: None)
    with pytest.raises(DeployError, match=r"/proc/self/mem: cannot be read \(Input/output error\)"):
        talk.run(channel)
