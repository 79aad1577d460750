"""An HTTP server that gives the answers that a test wrote, one after the other, and records what it was sent."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.doubles.running import running


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """One answer. `events` make a stream of server-sent events."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """JSON; or text, sent as it is."""
    events: Sequence[Any] = ()
    """JSON, or text for data that is not JSON."""
    named: bool = False
    """Whether each event has its `type` as its name, as Anthropic's have."""
    cut: bool = False
    """Close the connection before the end of the stream."""
    silent: bool = False
    """Take the request and answer nothing until the server stops."""


@dataclass(frozen=True)
class Request:
    """A request as it was received; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedServer:
    """The answers to come and the requests that came."""

    port: int
    answers: list[Scripted] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run a server on loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.script = ScriptedServer(port=server.server_address[1])
    with running(server):
        try:
            yield server.script
        finally:
            server.script.stopped.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    script: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Some tests disconnect on purpose; do not log that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        script = self.server.script
        length = int(self.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(self.rfile.read(length)) if length else None
        script.requests.append(Request(self.command, self.path, headers, body))
        answer = script.answers.pop(0)
        if answer.silent:
            script.stopped.wait(30)
            self.close_connection = True
            return
        data = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.events:
            self._stream(answer)
            return
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data.encode())))
        self.end_headers()
        self.wfile.write(data.encode())

    def _stream(self, answer: Scripted) -> None:
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in answer.events:
            data = event if isinstance(event, str) else json.dumps(event)
            name = f"event: {event['type']}\n" if answer.named else ""
            self._chunk(f"{name}data: {data}\n\n".encode())
        if answer.cut:
            self.close_connection = True
        else:
            self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
