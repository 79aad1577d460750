"""Programs around the engine's start and stop, run as systemd runs them, against doubles of engine and gateway."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from provisioning.programs.engine import engine_ready
from provisioning.programs.gateway import drain_engine
from tests.doubles.running import running
from tests.slowness import patient


class Engine(ThreadingHTTPServer):
    """An engine that answers /health with `health`, and a completion with `completion` to clients with the key."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _EngineHandler)
        self.health = 200
        self.completion = 200
        self.bodies: list[bytes] = []


class _EngineHandler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        self._send(self.server.health if self.path == "/health" else 404)

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        has_key = self.headers["Authorization"] == "Bearer sample"
        self._send(self.server.completion if has_key else 401)

    def _send(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Do not log into the test's output."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with running(Engine()) as server:
        yield server


def ready(port: int, *, timeout_s: float = 0, key: str = "sample", main_pid: int | None = None) -> tuple[int, str]:
    """Return exit status and stderr of engine_ready."""
    environment = {**os.environ, "VLLM_API_KEY": key, "http_proxy": "http://127.0.0.1:1"}
    if main_pid is not None:
        environment["MAINPID"] = str(main_pid)
    done = subprocess.run(
        [sys.executable, engine_ready.__file__, str(port), "tiny", str(timeout_s)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    return done.returncode, done.stderr


def test_an_engine_that_gives_a_token_is_ready(engine: Engine) -> None:
    assert ready(engine.server_port) == (0, "")
    assert b'"model": "tiny"' in engine.bodies[0]
    assert b'"max_tokens": 1' in engine.bodies[0]


@pytest.mark.parametrize(
    ("health", "completion", "key", "words"),
    [
        (503, 200, "sample", "not ready: /health answers 503\n"),
        (200, 500, "sample", "not ready: a completion answers 500\n"),
        (200, 200, "other", "not ready: a completion answers 401\n"),
    ],
)
def test_an_engine_without_a_token_is_not_ready(
    engine: Engine, health: int, completion: int, key: str, words: str
) -> None:
    engine.health, engine.completion = health, completion
    assert ready(engine.server_port, key=key) == (1, words)


def test_an_engine_that_does_not_listen_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    status, said = ready(port)
    assert status == 1
    assert "Connection refused" in said


def test_it_waits_until_the_engine_is_ready(engine: Engine) -> None:
    engine.health = 503
    waiting = Thread(target=lambda: results.append(ready(engine.server_port, timeout_s=50)))
    results: list[tuple[int, str]] = []
    waiting.start()
    engine.health = 200
    waiting.join()
    assert results == [(0, "")]


def test_it_does_not_wait_for_a_model_that_a_running_engine_does_not_have(engine: Engine) -> None:
    """Each provision that changed the model waited 15 s for the new one before it changed anything."""
    engine.completion = 404
    assert ready(engine.server_port, timeout_s=500) == (1, "not ready: a completion answers 404\n")


def test_it_does_not_wait_for_an_engine_that_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    status, said = ready(1, timeout_s=50, main_pid=ended.pid)
    assert (status, said) == (1, "not ready: the engine has ended\n")


def test_another_program_on_the_port_does_not_make_an_ended_engine_ready(engine: Engine) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert ready(engine.server_port, main_pid=ended.pid)[0] == 1


def tell(path: Path, answer: bytes) -> tuple[int, str, str]:
    """Return exit status and stderr of drain_engine, and the commands that a gateway answering `answer` got."""
    reported: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                reported.append(connection.recv(1000))
                connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        done = subprocess.run(
            [sys.executable, drain_engine.__file__, str(path), "main/gpu-1", "drain", f"{path.parent}/notice/drain"],
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        thread.join()
    return done.returncode, done.stderr, reported[0].decode()


def test_the_gateway_gets_the_drain_command(tmp_path: Path) -> None:
    assert tell(tmp_path / "admin.sock", b"\n") == (0, "", "set server main/gpu-1 state drain\n")
    assert (tmp_path / "notice/drain").exists()


def test_a_start_waits_until_the_watcher_lets_requests_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(("down # no token yet", "down # no token yet", "up ready 25%", "up ready 25%"))
    commands: list[str] = []
    (tmp_path / "drain").touch()
    monkeypatch.setattr(drain_engine, "watcher", lambda: next(said))

    def ask(_path: str, command: str) -> str:
        commands.append(command)
        return ""

    monkeypatch.setattr(drain_engine, "ask", ask)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert drain_engine.main(str(tmp_path), "main/gpu-1", "ready", f"{tmp_path}/drain") == 0
    assert commands == [f"set server main/gpu-1 {word}" for word in ("state ready", "agent up", "health up")]
    assert not (tmp_path / "drain").exists()


def test_a_refusal_of_the_gateway_is_reported(tmp_path: Path) -> None:
    status, said, _ = tell(tmp_path / "admin.sock", b"No such server.\n")
    assert (status, said) == (1, "HAProxy says: No such server.\n")


def test_a_missing_gateway_is_not_an_error(tmp_path: Path) -> None:
    assert drain_engine.main(str(tmp_path / "admin.sock"), "main/gpu-1", "drain", f"{tmp_path}/drain") == 0


def test_a_stop_waits_until_no_request_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ollama breaks running answers off when it gets the stop signal."""
    said = iter(("", *(f"# pxname,svname,scur\nmain,gpu-1,{count}\nmain,BACKEND,7\n" for count in (2, 1, 0))))
    pauses: list[float] = []
    monkeypatch.setattr(drain_engine, "ask", lambda _path, _command: next(said).strip())
    monkeypatch.setattr("time.sleep", pauses.append)
    assert drain_engine.main(str(tmp_path), "main/gpu-1", "drain", f"{tmp_path}/drain", "60") == 0
    assert len(pauses) == 2
    assert next(said, "all was read") == "all was read"


def test_a_stop_waits_no_longer_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"set server main/gpu-1 state drain": "", "show stat": "# pxname,svname,scur\nmain,gpu-1,1"}
    seconds = iter((0.0, 10.0, 59.0, 61.0))
    monkeypatch.setattr(drain_engine, "ask", lambda _path, command: answers[command])
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    assert drain_engine.main(str(tmp_path), "main/gpu-1", "drain", f"{tmp_path}/drain", "60") == 0


def test_a_key_file_of_a_previous_engine_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that had served with vLLM never started Ollama: its user may not read the file with vLLM's key."""

    def refuse(path: Path, **_: str) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setattr(Path, "read_text", refuse)
    assert engine_ready.engine_key() == ""


def test_the_watcher_may_look_for_the_notice_whatever_the_units_umask(tmp_path: Path) -> None:
    """The unit's umask made a folder that only root could read. The watcher then answered `drain` until a reboot."""
    notice = tmp_path / "llm-notice" / "drain"
    before = os.umask(0o077)
    try:
        drain_engine.drain(str(notice))
    finally:
        os.umask(before)
    assert notice.parent.stat().st_mode & 0o777 == 0o755
    assert notice.exists()
