"""A provider of language models, for tests of the overflow: OpenAI's and Anthropic's API, computing nothing.

It records what it got and what it charges, and fails on demand. Tests compare the caps with its charges.
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.doubles.running import running

PROVIDER_KEY = "provider-key-that-nobody-may-log"
WORDS = ("away ", "we ", "go ")
PATIENCE_S = 300


@dataclass(frozen=True)
class Sent:
    """A request as the provider received it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        value: dict[str, Any] = json.loads(self.body)
        return value


def _nothing(_moment: str) -> None:
    pass


@dataclass
class ProviderDouble:
    """The provider's behaviour; tests change it while it runs."""

    port: int
    faults: set[str] = field(default_factory=set)
    """Any of: no_usage, cut, hang_up, not_json, not_an_object, error_event, redirect, too_much, usage_everywhere."""
    status: int = 200
    retry_after: str = ""
    hold: threading.Event = field(default_factory=threading.Event)
    """Answers wait until this is set."""
    received: list[Sent] = field(default_factory=list)
    connections: int = 0
    used: list[tuple[int, int]] = field(default_factory=list)
    """Tokens in and out of each request for which the provider computed: what it charges."""
    at: Callable[[str], None] = _nothing
    """Called at: received, computed, begun, first, last, usage, done."""

    def __post_init__(self) -> None:
        self.hold.set()


@contextmanager
def running_provider(
    tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> Iterator[ProviderDouble]:
    """Run a provider, with TLS if a context is given."""
    server = _Server((address, port), _Handler)
    server.double = ProviderDouble(port=server.server_address[1])
    server.tls = tls
    with running(server):
        try:
            yield server.double
        finally:
            server.double.hold.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    double: ProviderDouble
    tls: ssl.SSLContext | None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread."""
        self.double.connections += 1
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Some tests end a client on purpose; do not log that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        pass

    def do_GET(self) -> None:
        self._json(404, {})

    def do_POST(self) -> None:
        provider = self.server.double
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        provider.received.append(Sent(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        provider.at("received")
        provider.hold.wait(PATIENCE_S)
        try:
            self._answer(provider, json.loads(body))
        except OSError:
            self.close_connection = True

    def _answer(self, provider: ProviderDouble, asked: dict[str, Any]) -> None:
        key = self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get("x-api-key")
        if key != PROVIDER_KEY:
            self._json(401, {"error": {"message": "wrong key"}})
            return
        if "hang_up" in provider.faults:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if "redirect" in provider.faults or provider.status != 200:
            self._json(307 if "redirect" in provider.faults else provider.status, {"error": {"message": "no"}})
            return
        tokens_in, tokens_out = _counted(asked, embeddings=self.path.endswith("embeddings"))
        if "too_much" in provider.faults:
            tokens_in += 1_000_000
        provider.used.append((tokens_in, tokens_out))
        provider.at("computed")
        if "not_json" in provider.faults:
            self._raw(200, b"<html>")
        elif "not_an_object" in provider.faults:
            self._raw(200, b"[]")
        elif self.path.endswith("/messages"):
            self._anthropic(provider, asked, tokens_in, tokens_out)
        elif self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
            self._json(200, {"object": "list", "model": asked["model"], "data": data} | self._usage(tokens_in, 0))
        else:
            self._openai(provider, asked, tokens_in, tokens_out)
        provider.at("done")

    def _openai(self, provider: ProviderDouble, asked: dict[str, Any], tokens_in: int, tokens_out: int) -> None:
        chat = self.path.endswith("/chat/completions")
        head = {"id": "cmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        usage = self._usage(tokens_in, tokens_out)
        count = asked.get("n", 1) * (len(asked["prompt"]) if isinstance(asked.get("prompt"), list) else 1)
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            text: dict[str, Any] = {"message": message} if chat else {"text": "".join(WORDS)}
            choices = [{"index": index, "finish_reason": "stop", **text} for index in range(count)]
            self._json(200, {**head, "choices": choices, **usage})
            return
        self._begin(provider)
        every = usage if "usage_everywhere" in provider.faults else {}
        for word in WORDS:
            text = {"delta": {"content": word}} if chat else {"text": word}
            choices = [{"index": index, "finish_reason": None, **text} for index in range(count)]
            self._event({**head, "choices": choices, **every})
            provider.at("first" if word == WORDS[0] else "last")
            if self._breaks(provider):
                return
        text = {"delta": {}} if chat else {"text": ""}
        self._event({**head, "choices": [{"index": index, "finish_reason": "stop", **text} for index in range(count)]})
        if usage and asked.get("stream_options", {}).get("include_usage"):
            self._event({**head, "choices": [], **usage})
            provider.at("usage")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _anthropic(self, provider: ProviderDouble, asked: dict[str, Any], tokens_in: int, tokens_out: int) -> None:
        usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": []}
        tool = (asked.get("tools") or [None])[0]
        if not asked.get("stream"):
            content: list[dict[str, Any]] = [{"type": "text", "text": "".join(WORDS)}]
            if tool:
                content.append({"type": "tool_use", "id": "call_1", "name": tool["name"], "input": {"a": 1}})
            shown = {} if "no_usage" in provider.faults else {"usage": usage}
            self._json(200, {**message, "content": content, "stop_reason": "tool_use" if tool else "end_turn", **shown})
            return
        self._begin(provider)
        self._named("message_start", message={**message, "usage": {"input_tokens": tokens_in, "output_tokens": 1}})
        self._named("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in WORDS:
            self._named("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
            provider.at("first" if word == WORDS[0] else "last")
            if self._breaks(provider):
                return
        if tool:
            block = {"type": "tool_use", "id": "call_1", "name": tool["name"], "input": {}}
            self._named("content_block_start", index=1, content_block=block)
            self._named("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"a": 1}'})
        if "no_usage" not in provider.faults:
            stop = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
            self._named("message_delta", delta=stop, usage={"output_tokens": tokens_out})
            provider.at("usage")
            self._named("message_stop")
        self._chunk(b"")

    def _begin(self, provider: ProviderDouble) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        provider.at("begun")

    def _breaks(self, provider: ProviderDouble) -> bool:
        if "error_event" in provider.faults:
            self._named("error", error={"type": "overloaded_error", "message": "no"})
            self._chunk(b"")
            return True
        if "cut" in provider.faults:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return True
        return False

    def _usage(self, tokens_in: int, tokens_out: int) -> dict[str, Any]:
        if "no_usage" in self.server.double.faults:
            return {}
        counts = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        return {"usage": counts}

    def _event(self, value: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _named(self, kind: str, **fields: Any) -> None:
        self._chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._raw(status, json.dumps(value).encode())

    def _raw(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.server.double.retry_after:
            self.send_header("Retry-After", self.server.double.retry_after)
        if status in range(300, 400):
            self.send_header("Location", f"https://127.0.0.1:{self.server.double.port}/elsewhere")
        self.end_headers()
        self.wfile.write(data)


def _counted(asked: dict[str, Any], *, embeddings: bool) -> tuple[int, int]:
    """Return the tokens that a provider with the worst tokenizer and the longest answers counts."""
    given = {key: asked[key] for key in ("messages", "system", "prompt", "input", "tools") if key in asked}
    texts = json.dumps(given, ensure_ascii=False)
    if embeddings:
        return len(texts.encode()), 0
    answers = max(asked.get("n", 1), asked.get("best_of", 1))
    prompts = len(asked["prompt"]) if isinstance(asked.get("prompt"), list) else 1
    return len(texts.encode()), (asked.get("max_tokens") or asked["max_completion_tokens"]) * answers * prompts
