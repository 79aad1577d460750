"""The HTTP side: requests from the gateway on one loopback port, metrics on another. Knows no provider.

Logs a line of JSON for each try at a provider and each refusal: who, where, how it ended; no body, no key.
"""

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from services.overflow.metrics import Metrics
from services.overflow.providers import ProviderFailedError
from services.overflow.relay import FAILED, RETRY_S, NoProviderError, Relay, Served
from services.overflow.request import ENDPOINTS, NotPortableError, parse_request
from services.overflow.settings import Settings
from services.systemd import notify

CLIENT_HEADER = "X-LLM-Client"
DATA_HEADER = "X-LLM-Data-Class"
LIMIT_HEADER = "X-LLM-Max-Tokens"
"""Set by the gateway, which drops what a client sends under these names."""

REFUSAL_HEADER = "X-LLM-Refusal-"
"""Beginning of four headers: how the gateway would refuse the request if there were no providers."""

SERVED_BY = "X-Served-By"

IDLE_S = 60
"""A connection of the gateway on which nothing comes for so long is closed."""

MOST_TOKENS_DIGITS = 7

ALIVE_S = 10
"""Seconds between signs of life for systemd's watchdog."""


class OverflowServer(ThreadingHTTPServer):
    """Takes requests; each runs in a thread of its own, and a stop waits for all of them."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 1024

    def __init__(self, settings: Settings, relay: Relay, metrics: Metrics) -> None:
        self.settings = settings
        self.relay = relay
        self.metrics = metrics
        self.places = threading.BoundedSemaphore(settings.max_requests)
        self.stopping = threading.Event()
        self._alive_at = 0.0
        super().__init__((settings.address, settings.port), _Handler)

    def service_actions(self) -> None:
        """Tell systemd that the loop still runs: it calls this several times in a second."""
        if time.monotonic() - self._alive_at >= ALIVE_S:
            self._alive_at = time.monotonic()
            notify(WATCHDOG="1")

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the base class's names)
        """Log what ended a connection. A peer that went away is not an error."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log(error=type(error).__name__)


class MetricsServer(ThreadingHTTPServer):
    """Answers Prometheus."""

    daemon_threads = True

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.metrics = metrics
        super().__init__((settings.address, settings.metrics_port), _MetricsHandler)


def log(**fields: object) -> None:
    """Write one line of JSON to the journal."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    server: OverflowServer

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        """Write nothing: a path is not logged here."""

    def do_GET(self) -> None:
        """Answer the gateway's check: whether a provider may spend anything."""
        try:
            ready = self.path == "/ready" and not self.server.stopping.is_set() and self.server.metrics.cap_left()
        except sqlite3.Error:
            ready = False
        self._json(200 if ready else 503, {"ready": ready})

    def do_POST(self) -> None:
        """Answer a request, from a provider or with an error."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > self.server.settings.max_body_bytes:
            self.close_connection = True
            self._error(413, "request_too_large", "The request body is too large.")
            return
        text = self.rfile.read(int(length))
        if self.path not in ENDPOINTS:
            self._error(404, "unknown_url", "No such method and path here.")
        elif reason := self._must_stay():
            self.server.metrics.count("llm_overflow_rejected_total", reason="data_class")
            log(client=self.headers.get(CLIENT_HEADER, ""), rejected=reason)
            self._error(403, "data_must_stay", "This request must not leave the stack.")
        elif not self.server.places.acquire(blocking=False):
            self._not_sent(NoProviderError(429, "overflow_full", "Too many requests run at providers.", RETRY_S))
        else:
            try:
                self._relay(text)
            finally:
                self.server.places.release()

    def _must_stay(self) -> str:
        """Return why the request must not leave; empty if it may. Without the gateway's headers it stays."""
        settings = self.server.settings
        classes, clients = self.headers.get_all(DATA_HEADER, []), self.headers.get_all(CLIENT_HEADER, [])
        allowed = ("public", "internal") if settings.internal else ("public",)
        if len(classes) != 1 or classes[0] not in allowed:
            return "data class"
        return "" if len(clients) == 1 and clients[0] in settings.clients else "client"

    def _relay(self, text: bytes) -> None:
        client, limit = self.headers[CLIENT_HEADER], self.headers.get(LIMIT_HEADER, "")
        usual = self.server.settings.default_max_tokens
        most = int(limit) if limit.isdecimal() and len(limit) <= MOST_TOKENS_DIGITS and int(limit) > 0 else usual
        try:
            request = parse_request(self.path, client, text, most)
            served = self.server.relay.send(request)
        except NotPortableError as error:
            self.server.metrics.count("llm_overflow_rejected_total", reason="not_portable")
            log(client=client, rejected=str(error))
            self._not_sent(NoProviderError(503, "overflow_unavailable", "No provider serves this request.", RETRY_S))
        except NoProviderError as error:
            self._not_sent(error)
        else:
            try:
                if served.body is not None:
                    self._json(200, served.body, ((SERVED_BY, f"overflow/{served.provider}"),))
                else:
                    self._stream(served)
            finally:
                served.close()

    def _not_sent(self, error: NoProviderError) -> None:
        """Answer a request that no provider computed. The gateway's reason counts, unless a provider was to blame.

        An engine may be free in seconds, and a cap lasts for a day.
        """
        status, code, text, retry_s = (
            self.headers.get(REFUSAL_HEADER + name, "") for name in ("Status", "Code", "Text", "Retry-After")
        )
        if error.code != FAILED and status in ("429", "503") and code and retry_s.isdecimal():
            self._error(int(status), code, text, int(retry_s))
        else:
            self._error(error.status, error.code, error.message, error.retry_s)

    def _stream(self, served: Served) -> None:
        """Send the chunks as they come. After an error the stream ends with an event about it, and without [DONE]."""
        self.send_response(200)
        for name, value in (
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-cache"),
            ("Transfer-Encoding", "chunked"),
            (SERVED_BY, f"overflow/{served.provider}"),
        ):
            self.send_header(name, value)
        try:
            self.end_headers()
            for chunk in served.chunks:
                self._chunk(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n")
            self._chunk(b"data: [DONE]\n\n")
        except ProviderFailedError:
            broken = _error_body("overflow_stream_cut", "The provider broke off.")
            self._chunk(b"data: " + json.dumps(broken).encode() + b"\n\n")
        finally:
            close: Callable[[], None] = getattr(served.chunks, "close", lambda: None)
            close()
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _error(self, status: int, code: str, message: str, retry_s: int = 0) -> None:
        headers = (("Retry-After", str(retry_s)),) if retry_s else ()
        self._json(status, _error_body(code, message, status), headers)

    def _json(self, status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> None:
        data = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        self.send_response(status)
        for name, text in (("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


class _MetricsHandler(BaseHTTPRequestHandler):
    server: MetricsServer

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        """Write nothing."""

    def do_GET(self) -> None:
        """Answer with all metrics."""
        status, text = 404, ""
        if self.path == "/metrics":
            status = 500
            with suppress(sqlite3.Error):
                status, text = 200, self.server.metrics.text()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())


def _error_body(code: str, message: str, status: int = 503) -> dict[str, Any]:
    kind = {429: "rate_limit_error", 503: "server_error"}.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
