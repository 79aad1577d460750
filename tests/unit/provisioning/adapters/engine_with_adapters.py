"""An engine that does with adapters as our plugin in vLLM does."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Engine(ThreadingHTTPServer):
    """What it serves, what it refuses, and what each model answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.served: dict[str, Any] | None = {"versions": {}, "aliases": {}}
        self.id = "one"
        self.problem = ""
        self.refused: dict[str, dict[str, str]] = {}
        """Adapters that its start skipped: it refuses them again."""
        self.answers = {"base": "one", "contract@3": "two", "contract@4": "three"}


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        served = self.server.served
        refused = {"refused": self.server.refused} if self.server.refused else {}
        self._send(404 if served is None else 200, {**(served or {}), **refused, "engine": self.server.id})

    def do_PUT(self) -> None:
        wanted = self._body()
        if self.server.served is None:
            self._send(404, {})
        elif self.server.problem:
            self._send(409, {"problem": self.server.problem})
        else:
            left_out = self.server.refused
            self.server.served = {
                "versions": {name: path for name, path in wanted["versions"].items() if name not in left_out},
                "aliases": {name: version for name, version in wanted["aliases"].items() if version not in left_out},
            }
            self._send(200, {**self.server.served, "refused": left_out})

    def do_POST(self) -> None:
        asked = self._body()
        model = asked["model"]
        known = self.server.answers
        self._send(200, {"choices": [{"text": known.get(f"{model}: {asked['prompt']}", known[model])}]})

    def _body(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return content

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test's output is the test's."""
