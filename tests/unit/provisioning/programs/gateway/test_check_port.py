"""Who listens on the gateway's port: read from ss and the kernel."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.programs.gateway import check_port
from provisioning.programs.gateway.check_port import main, owners, unit_of

NGINX = (
    'LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:(("nginx",pid=812,fd=6),("nginx",pid=811,fd=6))\n'
    'LISTEN 0 511 [::]:443 [::]:* users:(("nginx",pid=811,fd=7))\n'
)


def test_owners_are_each_named_once() -> None:
    assert owners(NGINX) == [("nginx", "811"), ("nginx", "812")]
    assert owners("") == []
    assert owners("LISTEN 0 5 *:443 *:*\n") == []


UNITS = [
    ("0::/system.slice/haproxy.service\n", "haproxy.service"),
    ("12:pids:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service\n", "nginx.service"),
    ("0::/user.slice/user-1000.slice/session-4.scope\n", "session-4.scope"),
    ("0::/system.slice/docker.service/payload\n", "docker.service"),
    ("0::/\n", ""),
    ("", ""),
]


@pytest.mark.parametrize(("cgroups", "unit"), UNITS)
def test_unit_is_read_from_cgroups(cgroups: str, unit: str) -> None:
    assert unit_of(cgroups) == unit


def test_free_port_passes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert main(str(port), "haproxy.service") == 0


def test_taken_port_names_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(str(port), "haproxy.service") == 1
    said = capsys.readouterr().err
    assert f"port {port} is in use by " in said
    assert f"process {os.getpid()}" in said
    assert "set gateway.port" in said


def test_our_own_unit_may_have_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_port, "read_unit", lambda _: "haproxy.service")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert main(str(listener.getsockname()[1]), "haproxy.service") == 0


def test_an_owner_that_ss_cannot_name_is_still_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = subprocess.CompletedProcess([], 0, stdout="LISTEN 0 5 *:443 *:*\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    assert main("443", "haproxy.service") == 1
    assert "an unknown program" in capsys.readouterr().err


def test_it_runs_as_a_program() -> None:
    path = str(Path(check_port.__file__))
    done = subprocess.run([sys.executable, "-I", path, "1", "x.service"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
