"""The benchmark's proxy: it adds a delay, keeps the throughput, and can reset connections."""

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
    """A server that echoes its input."""
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


def test_each_exchange_takes_a_round_trip(echo: tuple[str, int]) -> None:
    """The first exchange also includes TCP's handshake."""
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
    """Many chunks are under way at once: if the proxy waited for each of them, these would take 8 s."""
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


def test_cut_resets_open_connections(echo: tuple[str, int]) -> None:
    """The client gets an error or the end of the stream, and does not hang."""
    with (
        DelayProxy(echo, round_trip_s=0).running() as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client,
    ):
        client.sendall(b"a")
        client.recv(1)
        proxy.cut()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
