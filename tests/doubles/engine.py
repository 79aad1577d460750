"""An OpenAI-shaped engine for tests of the gateway and the smoke test: computes nothing, and fails on demand.

Replaces vLLM if the engine's own behaviour is not under test. Offers what a test needs and a real engine lacks:
requests that wait until they are released, streams that advance token by token, faults.
"""

import json
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENGINE_KEY = "engine-key-that-no-client-knows"
TOKENS = ("one ", "two ", "three ", "four ")
COMPLETED = ("/v1/chat/completions", "/v1/completions")
STREAMED = ("/v1/messages", "/v1/responses")
"""Paths that it answers with a stream alone: the deltas of text, without the events around them."""

ERROR = {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": None, "code": 500}
"""How vLLM tells the readers of its streams that its core has died."""

PATIENCE_S = 300
"""How long a held request waits for a test that forgot it."""


@dataclass(frozen=True)
class Received:
    """A request as the engine received it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class EngineDouble:
    """The engine's behaviour; tests change it while it runs."""

    port: int
    key: str = ENGINE_KEY
    models: tuple[str, ...] = ("tiny", "contract", "contract@1")
    faults: set[str] = field(default_factory=set)
    """Any of: missing_model, extra_model, same_answers, empty_answers, stream_whole, stream_cut, stream_error,
    stream_stalls, any_model, any_key, no_key_needed, open_paths, unhealthy, broken_json, overloaded, hang_up,
    dies_of_logprobs, computes_nothing, no_choices."""
    status: int = 200
    """Requests for text are refused with another one."""
    received: list[Received] = field(default_factory=list)
    running: int = 0
    """Requests that came and are not answered yet."""
    computed: int = 0
    """Tokens so far, in /metrics."""
    broken_off: int = 0
    """Answers whose client went away before their end."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Requests wait until this is set."""
    steps: threading.Semaphore | None = None
    """If given, each token of a stream takes one."""
    token_s: float = 0
    """Time that each token of a stream takes."""
    tokens: tuple[str, ...] = TOKENS
    stop_listening: Callable[[], object] = lambda: None
    """Refuses connections from now on."""

    def __post_init__(self) -> None:
        self.hold.set()

    def answer_of(self, model: str) -> tuple[str, ...]:
        """Return the tokens of `model`'s answer, whatever the prompt."""
        if "empty_answers" in self.faults:
            return ()
        mark = "" if model == self.models[0] or "same_answers" in self.faults else f"{model.partition('@')[0]} "
        return tuple(mark + token for token in self.tokens)


@contextmanager
def running_engine(*, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[EngineDouble]:
    """Run an engine on loopback, on `port` or a free one."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.double = EngineDouble(
        port=server.server_address[1], stop_listening=lambda: server.socket.shutdown(socket.SHUT_RDWR)
    )
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.double
    finally:
        server.double.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    double: EngineDouble

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Some tests disconnect a client on purpose; do not log that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        engine = self.server.double
        body = self._body()
        engine.received.append(Received(self.command, self.path, dict(self.headers.items()), body))
        if self.path in ("/health", "/api/version"):
            self._json(503 if "unhealthy" in engine.faults else 200, {})
            return
        if self.path == "/metrics" and not isinstance(self.connection, ssl.SSLSocket):  # with TLS it is an endpoint
            self._metrics(engine)
            return
        engine.running += 1
        try:
            engine.hold.wait(PATIENCE_S)
            self._route(engine, body)
        except OSError:
            engine.broken_off += 1
            self.close_connection = True
        finally:
            engine.running -= 1

    def _metrics(self, engine: EngineDouble) -> None:
        """Answer like vLLM, whose counters need no key."""
        self._send(200, "text/plain", vllm_metrics(engine).encode())

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _route(self, engine: EngineDouble, body: bytes) -> None:
        faults = engine.faults
        given = self.headers.get("authorization")
        if self.path.startswith("/api/") and "open_paths" not in faults:  # as a gateway answers, whatever the key
            self._error(404, "unknown_url")
        elif not (given == f"Bearer {engine.key}" or (given and "any_key" in faults) or "no_key_needed" in faults):
            self._error(401, "invalid_api_key")
        elif (self.command, self.path) == ("GET", "/v1/models"):
            listed = engine.models[:-1] if "missing_model" in faults else engine.models
            listed += ("stranger",) if "extra_model" in faults else ()
            self._json(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in listed]})
        elif self.command == "POST" and (self.path in COMPLETED or (self.path in STREAMED and b'"stream"' in body)):
            self._complete(engine, body)
        elif "open_paths" in faults:
            self._json(200, {})
        else:
            self._error(404, "unknown_url")

    def _complete(self, engine: EngineDouble, body: bytes) -> None:
        try:
            asked = json.loads(body)
            model = str(asked["model"])
        except (ValueError, KeyError, TypeError):
            self._json(200, {"received_bytes": len(body)})
            return
        if "computes_nothing" in engine.faults:
            threading.Event().wait(PATIENCE_S)
        elif "no_choices" in engine.faults:
            self._json(200, {})
        elif engine.status != HTTPStatus.OK:
            self._error(engine.status, "refused")
        elif "overloaded" in engine.faults:
            self._error(503, "overloaded")
        elif "hang_up" in engine.faults:
            self.connection.shutdown(socket.SHUT_RDWR)
        elif model not in engine.models and "any_model" not in engine.faults:
            self._error(404, "model_not_found")
        elif asked.get("stream"):
            self._stream(engine, model, asked)
        else:
            tokens = engine.answer_of(model)[: asked.get("max_tokens")]
            engine.computed += len(tokens)
            choice = self._choice("".join(tokens), whole=True)
            if asked.get("logprobs") is True:
                if "dies_of_logprobs" in engine.faults:
                    self._error(500, "internal_error")
                    return
                choice["logprobs"] = {"content": [{"token": token, "logprob": -0.5} for token in tokens]}
            self._json(200, {"choices": [choice], "usage": _usage(len(tokens))})

    def _stream(self, engine: EngineDouble, model: str, asked: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        tokens = engine.answer_of(model)[: asked.get("max_tokens")]
        pieces = ("".join(tokens),) if "stream_whole" in engine.faults else tokens
        for number, token in enumerate(pieces, 1):
            if engine.steps is not None:
                engine.steps.acquire(timeout=PATIENCE_S)
            time.sleep(engine.token_s)
            self._notice_hang_up()
            engine.computed += 1
            self._event(self._delta(token, last=number == len(pieces)))
            if "stream_stalls" in engine.faults:
                threading.Event().wait(PATIENCE_S)
            if "stream_error" in engine.faults:
                self._event(self._failure())
                break
            if "stream_cut" in engine.faults:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        if asked.get("stream_options", {}).get("include_usage"):
            self._event({"choices": [], "usage": _usage(len(tokens))})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _notice_hang_up(self) -> None:
        """Fail if the client has disconnected. Checks like a real engine: a write alone may succeed for a while."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError

    def _choice(self, text: str, *, whole: bool, last: bool = True) -> dict[str, Any]:
        choice = {"index": 0, "finish_reason": "stop" if last else None}
        if self.path == "/v1/completions":
            return {**choice, "text": text}
        return {**choice, "message" if whole else "delta": {"role": "assistant", "content": text}}

    def _delta(self, text: str, *, last: bool) -> dict[str, Any]:
        """Return a piece of a streamed answer."""
        if self.path == "/v1/messages":
            return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        if self.path == "/v1/responses":
            return {"type": "response.output_text.delta", "delta": text, "sequence_number": 1}
        return {"choices": [self._choice(text, whole=False, last=last)]}

    def _failure(self) -> dict[str, Any]:
        """Return the event with which vLLM ends a stream that failed."""
        if self.path == "/v1/messages":
            return {"type": "error", "error": {"type": ERROR["type"], "message": ERROR["message"]}}
        if self.path == "/v1/responses":
            return {"type": "error", "code": ERROR["type"], "message": ERROR["message"], "sequence_number": 2}
        return {"error": ERROR}

    def _event(self, value: dict[str, Any]) -> None:
        named = f"event: {value['type']}\n" if "type" in value else ""
        self._chunk(f"{named}data: {json.dumps(value)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _error(self, status: int, code: str) -> None:
        self._json(status, {"error": {"message": code, "type": "invalid_request_error", "param": None, "code": code}})

    def _json(self, status: int, value: dict[str, Any]) -> None:
        data = b"{" if "broken_json" in self.server.double.faults else json.dumps(value).encode()
        self._send(status, "application/json", data)

    def _send(self, status: int, content_type: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


VLLM_METRICS = """\
vllm:num_requests_running{{{labels}}} {running}
vllm:num_requests_waiting{{{labels}}} 0.0
vllm:kv_cache_usage_perc{{{labels}}} 0.25
vllm:prefix_cache_queries_total{{{labels}}} {tokens}
vllm:prefix_cache_hits_total{{{labels}}} {tokens}
vllm:num_preemptions_total{{{labels}}} 0.0
vllm:prompt_tokens_total{{{labels}}} {tokens}
vllm:generation_tokens_total{{{labels}}} {tokens}
vllm:request_success_total{{{labels},finished_reason="stop"}} {tokens}
vllm:time_to_first_token_seconds_bucket{{{labels},le="0.1"}} {tokens}
vllm:time_to_first_token_seconds_bucket{{{labels},le="+Inf"}} {tokens}
vllm:inter_token_latency_seconds_bucket{{{labels},le="0.05"}} {tokens}
vllm:inter_token_latency_seconds_bucket{{{labels},le="+Inf"}} {tokens}
vllm:lora_requests_info{{max_lora="2",running_lora_adapters="contract",waiting_lora_adapters=""}} 1.0
"""
"""The part of vLLM 0.32's metrics that dashboards, alerts and `make top` read; tests/machine/test_vllm.py compares."""


def vllm_metrics(engine: EngineDouble) -> str:
    """Return metrics in vLLM's words. Each of its counters is the number of tokens."""
    labels = f'engine="0",model_name="{engine.models[0]}"'
    return VLLM_METRICS.format(labels=labels, running=float(engine.running), tokens=float(engine.computed))


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}


def serve(port: int, token_s: float, rounds: int) -> None:
    """Serve until the process ends."""
    with running_engine(port=port) as engine:
        engine.key = os.environ["VLLM_API_KEY"]
        engine.token_s = token_s
        engine.tokens = TOKENS * rounds
        threading.Event().wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
