"""What systemd receives from a service."""

import socket
from pathlib import Path

import pytest

from services.systemd import notify


def test_systemd_receives_each_value_on_a_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{tmp_path}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        notify(WATCHDOG="1", STATUS="lets requests in")
        assert systemd.recv(1000) == b"WATCHDOG=1\nSTATUS=lets requests in"


def test_outside_a_unit_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY="1")
