"""The real Alertmanager sends an alert by mail, with the configuration of the role."""

import json
import socketserver
import subprocess
import urllib.request
from base64 import b64decode
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from provisioning.roles.monitoring.configs import alertmanager_config
from serving.spec.monitoring_fields import AlertsSpec
from tests.doubles.running import running
from tests.gateways import ADDRESS, free_port, wait_for

PASSWORD = "correct horse"


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server that takes every mail, and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((ADDRESS, 0), _Mail)
        self.logins: list[list[str]] = []
        self.mails: list[tuple[list[str], Message]] = []


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, MailServer)
        receivers: list[str] = []
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self._say("250-localhost", "250 AUTH PLAIN")
            elif word == "AUTH":
                self.server.logins.append(b64decode(line.split()[2]).decode().split("\0")[1:])
                self._say("235 welcome")
            elif word == "DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append((receivers, message_from_string(b"".join(lines).decode())))
                self._say("250 taken")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                receivers += [line.partition(":")[2].split()[0]] if word == "RCPT" else []
                self._say("250 ok")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


def test_each_address_gets_a_mail_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    with running(MailServer()) as server:
        email = {
            "to": ["a@example.com", "b@example.com"],
            "sender": "llm@example.com",
            "server": f"localhost:{server.server_address[1]}",
            "user": "llm",
            "password": {"env": "MAIL_PASSWORD"},
        }
        config = alertmanager_config(AlertsSpec.model_validate({"email": email}), "rack").value
        waits = "group_wait: 10s"
        assert waits in config
        (tmp_path / "alertmanager.yml").write_text(config.replace(waits, "group_wait: 0s"))
        port = free_port()
        argv = [
            "prometheus-alertmanager",
            f"--config.file={tmp_path}/alertmanager.yml",
            f"--storage.path={tmp_path}/data",
            f"--web.listen-address={ADDRESS}:{port}",
            "--cluster.listen-address=",
        ]
        with (tmp_path / "log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
            try:
                wait_for(lambda: _is_ready(port), "Alertmanager")
                alert = {"labels": {"alertname": "DiskFull", "host": "gpu-1"}, "annotations": {"summary": "no room"}}
                _post(port, [alert])
                wait_for(lambda: len(server.mails) >= len(email["to"]), (tmp_path / "log").read_text())
            finally:
                process.terminate()
    assert sorted(receivers for receivers, _ in server.mails) == [["<a@example.com>"], ["<b@example.com>"]]
    assert server.logins == [["llm", PASSWORD]] * 2
    for _, mail in server.mails:
        assert (mail["From"], mail["Subject"]) == ("llm@example.com", "[rack] firing: DiskFull")
        parts = [part.get_payload(decode=True) for part in mail.walk() if part.get_content_type() == "text/html"]
        assert b"no room" in b"".join(part for part in parts if isinstance(part, bytes))


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status)
    except OSError:
        return False


def _post(port: int, alerts: list[dict[str, dict[str, str]]]) -> None:
    request = urllib.request.Request(
        f"http://{ADDRESS}:{port}/api/v2/alerts",
        data=json.dumps(alerts).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 (loopback)
