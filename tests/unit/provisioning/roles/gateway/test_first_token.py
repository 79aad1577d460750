"""Streams whose engine sends its head before it computes, as vLLM does: the time to the first token, and hang-ups."""

import json
import ssl
import threading

from tests.doubles.engine import TOKENS, EngineDouble
from tests.gateways import CLIENT_KEY, DEADLINE_S, wait_for
from tests.unit.provisioning.conftest import NewGateway

BODY = json.dumps({"model": "tiny", "stream": True})
REQUEST = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\nX-Request-Id: it\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
)


class Computing(threading.Semaphore):
    """The tokens that an engine may make."""

    def __init__(self) -> None:
        super().__init__(0)
        self.head_sent = threading.Event()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Wait for a token."""
        self.head_sent.set()
        return super().acquire(blocking, timeout)


def read_all(connection: ssl.SSLSocket) -> bytes:
    """Return the answer up to its end."""
    data = b""
    while b"[DONE]" not in data and (more := connection.recv(65536)):
        data += more
    return data


def test_the_first_token_is_timed_and_not_the_head(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    engine.steps = steps = Computing()
    with gateway.connect() as connection:
        connection.sendall(REQUEST.encode())
        assert steps.head_sent.wait(DEADLINE_S)
        threading.Timer(0.5, steps.release, [len(TOKENS)]).start()  # HAProxy reads the head meanwhile, and holds it
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    line = gateway.logged("it")
    assert line["first_byte_ms"] < int(line["first_token_ms"]) <= line["total_ms"] + 1


def test_client_that_hangs_up_before_the_first_token_ends_the_engines_work(
    new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway()
    engine.steps = steps = Computing()
    with gateway.connect() as connection:
        connection.sendall(REQUEST.encode())
        assert steps.head_sent.wait(DEADLINE_S)
    wait_for(gateway.log_lines, "the gateway notices")  # while the engine computes
    steps.release(len(TOKENS))
    wait_for(lambda: engine.broken_off == 1, "the engine notices")
    line = gateway.logged("it")
    assert (line["first_token_ms"], line["ended"][0]) == ("-", "C")
