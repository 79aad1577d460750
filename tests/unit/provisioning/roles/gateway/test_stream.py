"""Streams through the gateway: nothing is held back, and a reload cuts nothing off."""

import json
import os
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.spec.gateway_size import OLD_PROCESSES
from tests.doubles.engine import TOKENS, EngineDouble
from tests.gateways import CLIENT_KEY, RunningGateway, wait_for
from tests.slowness import patient
from tests.unit.provisioning.conftest import NewGateway


class Stream:
    """A streamed answer, read as far as it has arrived."""

    def __init__(self, gateway: RunningGateway) -> None:
        body = json.dumps({"model": "tiny", "stream": True}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
            f"X-Request-Id: stream\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.connection: ssl.SSLSocket = gateway.connect()
        self.connection.sendall(head.encode() + body)
        self.data = b""

    def read_until(self, text: bytes) -> None:
        """Read until `text` has arrived; fails if the answer ends before."""
        while text not in self.data:
            more = self.connection.recv(65536)
            assert more, f"the stream ended before {text!r}: {self.data!r}"
            self.data += more


def test_each_token_arrives_before_the_engine_makes_the_next(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """By events, not by time: the engine may make a token only after the client has read the one before."""
    gateway = new_gateway()
    engine.steps = threading.Semaphore(0)
    stream = Stream(gateway)
    with stream.connection:
        for index, token in enumerate(TOKENS):
            assert token.encode() not in stream.data
            engine.steps.release()
            stream.read_until(token.encode())
            assert stream.data.count(b"data: {") == index + 1
        stream.read_until(b"data: [DONE]\n\n")
        assert b"content-type: text/event-stream" in stream.data.lower()
        assert b"transfer-encoding: chunked" in stream.data.lower()


def test_stream_may_pause_longer_than_a_client_may_be_silent(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """The client is silent while it receives an answer; that is not a reason to cut it off."""
    gateway = new_gateway(request_timeout_s=2)
    engine.tokens = TOKENS * 6
    engine.token_s = 0.1
    stream = Stream(gateway)
    with stream.connection:
        stream.read_until(b"[DONE]")
    assert gateway.logged("stream")["total_ms"] > 2000


def test_reload_lets_running_streams_end_and_serves_new_requests(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    engine.steps = threading.Semaphore(1)
    stream = Stream(gateway)
    with stream.connection:
        stream.read_until(TOKENS[0].encode())
        old = int(gateway.worker())
        gateway.reload()
        assert gateway.worker() != str(old)
        assert gateway.ask("GET", "/v1/models").status == 200
        assert alive(old)
        engine.steps.release(len(TOKENS))
        stream.read_until(b"data: [DONE]\n\n")
    wait_for(lambda: not alive(old), "the old worker ends with its last stream")


def test_an_old_process_survives_some_reloads_only(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """Each takes 4.7 MiB, so about a hundred reloads within an hour reached the memory limit of the unit."""
    gateway = new_gateway()
    engine.steps = threading.Semaphore(1)
    stream = Stream(gateway)
    with stream.connection:
        stream.read_until(TOKENS[0].encode())
        old = Path("/proc") / gateway.worker()
        for _ in range(OLD_PROCESSES):
            gateway.reload()
        assert old.exists()
        gateway.reload()
        wait_for(lambda: not old.exists(), "the oldest process to end", patient(10.0))


def test_reload_takes_new_keys_and_forgets_old_ones(new_gateway: NewGateway) -> None:
    import hashlib
    from pathlib import Path

    gateway = new_gateway()
    new = "sk-new"
    Path(gateway.places.keys).write_text(f"{hashlib.sha256(new.encode()).hexdigest()} default\n")
    gateway.reload()
    assert gateway.ask("GET", "/v1/models", key=new).status == 200
    assert gateway.ask("GET", "/v1/models").status == 401


def test_reload_fails_no_request(new_gateway: NewGateway) -> None:
    """The old process answered 503: `nbsrv` no longer counts a server in a process that is about to end."""
    gateway = new_gateway()
    statuses: list[int] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            statuses.append(gateway.ask("GET", "/v1/models").status)

    with ThreadPoolExecutor(3) as people:
        asking = [people.submit(keep_asking) for _ in range(3)]
        try:
            for reloads in range(1, 5):
                gateway.reload()
                wait_for(lambda: len(statuses) > 40 * reloads, "some requests")  # noqa: B023  # in this round
        finally:
            done.set()  # otherwise the three clients never stop
    assert all(future.exception() is None for future in asking)
    assert set(statuses) == {200}


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_alive_tells_processes_apart() -> None:
    assert alive(os.getpid())
    assert not alive(2**22 + 1)
