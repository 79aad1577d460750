"""The benchmark's measuring instrument: it delays, it does not slow down, and it cuts."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.project.converge.delay_proxy import DelayProxy

ROUND_TRIP_S = 0.1


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                while data := client.recv(1 << 20):
                    client.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(5)


def test_each_exchange_takes_one_round_trip(echo: tuple[str, int]) -> None:
    """The first exchange also pays for TCP's handshake."""
    with (
        DelayProxy(echo, round_trip_s=ROUND_TRIP_S).running() as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        client.sendall(b"a")
        client.recv(1)
        began = time.monotonic()
        for _ in range(3):
            client.sendall(b"b")
            client.recv(1)
        taken = time.monotonic() - began
    assert 3 * ROUND_TRIP_S <= taken < 3 * ROUND_TRIP_S + 0.5


def test_throughput_is_not_lowered(echo: tuple[str, int]) -> None:
    """Many bytes are on the way at once: a queue that waited for each chunk would take 8 s for these."""
    size = 20 << 20
    with (
        DelayProxy(echo, round_trip_s=ROUND_TRIP_S).running() as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        began = time.monotonic()
        sender = threading.Thread(target=client.sendall, args=(bytes(size),), daemon=True)
        sender.start()
        got = 0
        while got < size:
            got += len(client.recv(1 << 20))
        taken = time.monotonic() - began
        sender.join()
    assert taken < 4
    assert proxy.bytes_up >= size
    assert proxy.connections == 1


def test_a_cut_resets_what_is_open(echo: tuple[str, int]) -> None:
    """The client sees an error or the end, not silence."""
    with (
        DelayProxy(echo, round_trip_s=0).running() as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client,
    ):
        client.sendall(b"a")
        client.recv(1)
        proxy.cut()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
