"""A stand-in for an engine with set times, so that every run measures the gateway and not a model.

    python -m benchmarks.project.gateway.harness.engine --port N [--agent-port N] [--places N] [--prefill-s X] …

One request costs: the adapter's load if it is not loaded, the prefill for the blocks of the prompt that are not cached,
and a fixed time for each token. At most `places` requests compute; others wait in order. Its control paths are not
OpenAI's: `GET /control/events` returns and forgets the log, `POST /control/agent/drain` sets the answer to HAProxy's
agent check. With `--port N --port M …` several engines are one process: a busy machine delays what all of them see, and
keeps its order. Times are those of the machine's monotonic clock, in seconds, so that all processes share them.
"""

import argparse
import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

BLOCK_BYTES = 64
"""A block of the prefix cache. vLLM's have 16 tokens."""

PROMPT_CHARS = 8192
"""How much of a message the prefix cache looks at."""

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Times:
    """What a request costs, in seconds."""

    prefill_s: float = 0.02
    """Of a prompt with no cached block."""
    token_s: float = 0.005
    tokens: int = 8
    """Tokens of an answer whose request does not say how many."""
    load_s: float = 0.0
    """Of an adapter that is not loaded."""


@dataclass
class Engine:
    """The state of the stand-in."""

    times: Times
    places: int
    cached_blocks: int
    adapters: int
    """Adapters that fit beside the base model."""
    running: int = 0
    waiting: "deque[Request]" = field(default_factory=deque)
    blocks: "OrderedDict[int, None]" = field(default_factory=OrderedDict)
    loaded: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    events: list[tuple[str, str, float, int]] = field(default_factory=list)
    """What happened, to which request, when; of `start` also how many per mille of its prompt were cached."""
    agent: str = "up"

    def arrive(self, request: "Request") -> None:
        """Take a request that has come in whole."""
        self.log("arrive", request)
        self.waiting.append(request)
        self.begin_next()

    def begin_next(self) -> None:
        """Start requests while there are places."""
        while self.waiting and self.running < self.places:
            request = self.waiting.popleft()
            if request.is_over:
                continue
            self.running += 1
            missing, load_s = self.take(request.model, request.prompt)
            self.log("start", request, round(1000 * (1 - missing)))
            request.begin(load_s + missing * self.times.prefill_s)

    def take(self, model: str, prompt: bytes) -> tuple[float, float]:
        """Return the share of the prompt's blocks that are not cached, and the seconds of the adapter's load."""
        load_s = 0.0
        if self.adapters and model not in self.loaded:
            load_s = self.times.load_s
            self.loaded[model] = None
            if len(self.loaded) > self.adapters:
                self.loaded.popitem(last=False)
        elif self.adapters:
            self.loaded.move_to_end(model)
        keys = block_keys(model, prompt)
        hits = next((number for number, key in enumerate(keys) if key not in self.blocks), len(keys))
        for key in keys:
            self.blocks[key] = None
            self.blocks.move_to_end(key)
        while len(self.blocks) > self.cached_blocks:
            self.blocks.popitem(last=False)
        return 1 - hits / len(keys), load_s

    def leave(self, request: "Request", what: str) -> None:
        """Free the place of a request that has ended or was broken off."""
        self.log(what, request)
        if request.is_begun:
            self.running -= 1
            self.begin_next()

    def log(self, what: str, request: "Request", number: int = 0) -> None:
        """Keep an event."""
        self.events.append((what, request.name, time.monotonic(), number))


def block_keys(model: str, prompt: bytes) -> list[int]:
    """Return a key for each block of a prompt; it covers all blocks before it. An empty prompt has one block."""
    keys, above = [], hash(model)
    for start in range(0, max(1, len(prompt)), BLOCK_BYTES):
        above = hash((above, prompt[start : start + BLOCK_BYTES]))
        keys.append(above)
    return keys


def prompt_of(body: dict[str, Any]) -> bytes:
    """Return the beginning of a request's prompt."""
    messages = body.get("messages") or [{"content": body.get("prompt")}]
    return " ".join(str(message.get("content"))[:PROMPT_CHARS] for message in messages).encode()


class Request:
    """One request, from its arrival to its end."""

    def __init__(self, engine: Engine, transport: asyncio.Transport, name: str, body: dict[str, Any]) -> None:
        self._engine = engine
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stream = bool(body.get("stream"))
        self._tokens = int(body.get("max_tokens") or engine.times.tokens)
        self._due = 0.0
        self.name = name
        self.model = str(body.get("model"))
        self.prompt = prompt_of(body)
        self.is_begun = False
        self.is_over = False

    def begin(self, prefill_s: float) -> None:
        """Compute: the answer comes after the prefill and the tokens' time."""
        self.is_begun = True
        self._due = self._loop.time() + prefill_s
        if self._stream:
            self._timer = self._loop.call_at(self._due, self._first)
        else:
            self._timer = self._loop.call_at(self._due + self._tokens * self._engine.times.token_s, self._whole)

    def stop(self) -> None:
        """Forget the request: its client hung up."""
        if self.is_over:
            return
        self.is_over = True
        if self._timer:
            self._timer.cancel()
        self._engine.leave(self, "abort")

    def _first(self) -> None:
        self._transport.write(STREAM_HEAD)
        self._token(1)

    def _token(self, number: int) -> None:
        data = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
        self._transport.write(b"%x\r\n%s\r\n" % (len(data), data))
        if number == self._tokens:
            self._transport.write(STREAM_END)
            self._end()
        else:
            self._due += self._engine.times.token_s
            self._timer = self._loop.call_at(self._due, self._token, number + 1)

    def _whole(self) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": "word " * self._tokens}}
        usage = {"prompt_tokens": 1, "completion_tokens": self._tokens, "total_tokens": self._tokens + 1}
        self._transport.write(answer(200, {"choices": [choice], "usage": usage}))
        self._end()

    def _end(self) -> None:
        self.is_over = True
        self._engine.leave(self, "end")


def answer(status: int, value: object) -> bytes:
    """Return a whole HTTP answer."""
    data = json.dumps(value).encode()
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(data))
    return head + data


class Connection(asyncio.Protocol):
    """A connection from the gateway: one request after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._buffer = bytearray()
        self._needed = 0
        self._request: Request | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's)
        """Stop what runs for this connection."""
        if self._request:
            self._request.stop()

    def data_received(self, data: bytes) -> None:
        """Collect a request, and answer it when it is here in whole."""
        self._buffer += data
        if len(self._buffer) < self._needed:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self._needed = end + 4 + int(headers.get("content-length", 0))
        if len(self._buffer) < self._needed:
            return
        body = bytes(self._buffer[end + 4 : self._needed])
        del self._buffer[: self._needed]
        self._needed = 0
        self._route(lines[0].split()[:2], headers, body)

    def _route(self, line: list[str], headers: dict[str, str], body: bytes) -> None:
        engine = self._engine
        match line:
            case ["POST", "/v1/chat/completions" | "/v1/completions"]:
                try:
                    self._request = Request(engine, self._transport, headers.get("x-request-id", ""), json.loads(body))
                except (ValueError, AttributeError, TypeError):
                    engine.events.append(("bad", headers.get("x-request-id", ""), time.monotonic(), 0))
                    self._transport.write(answer(400, {"error": {"message": "bad JSON"}}))
                    return
                engine.arrive(self._request)
            case ["GET", "/control/events"]:
                self._transport.write(answer(200, engine.events))
                engine.events.clear()
            case ["POST", path] if path.startswith("/control/agent/"):
                engine.agent = path.removeprefix("/control/agent/")
                self._transport.write(answer(200, {}))
            case ["GET", "/v1/models"]:
                self._transport.write(answer(200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]}))
            case ["GET", _]:
                self._transport.write(answer(200, {"status": "ok", "model_path": "tiny"}))
            case _:
                self._transport.write(answer(404, {"error": {"message": "unknown path"}}))


class AgentCheck(asyncio.Protocol):
    """HAProxy's agent check: one line for each connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        transport.write(self._engine.agent.encode() + b"\n")
        transport.close()


async def serve(engines: Mapping[int, Engine], agent_port: int) -> None:
    """Serve engines by their ports until the process ends; the agent is the first one's."""
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(partial(Connection, engine), "127.0.0.1", port, backlog=1024)
        for port, engine in engines.items()
    ]
    if agent_port:
        agent = partial(AgentCheck, next(iter(engines.values())))
        servers.append(await loop.create_server(agent, "127.0.0.1", agent_port))
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True, action="append")
    parser.add_argument("--agent-port", type=int, default=0)
    parser.add_argument("--places", type=int, default=4)
    parser.add_argument("--cached-blocks", type=int, default=0)
    parser.add_argument("--adapters", type=int, default=0)
    for name in ("prefill", "token", "load"):
        parser.add_argument(f"--{name}-s", type=float, default=getattr(Times(), f"{name}_s"))
    parser.add_argument("--tokens", type=int, default=Times().tokens)
    given = parser.parse_args()
    times = Times(prefill_s=given.prefill_s, token_s=given.token_s, load_s=given.load_s, tokens=given.tokens)
    engines = {port: Engine(times, given.places, given.cached_blocks, given.adapters) for port in given.port}
    asyncio.run(serve(engines, given.agent_port))


if __name__ == "__main__":
    main()
