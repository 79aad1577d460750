"""The agent answers on every address of a host, or on one; a client that says nothing holds nobody up."""

import socket
from contextlib import ExitStack

import pytest

from services.engine_watch.servers import serve_agent
from tests.gateways import DEADLINE_S


def answer(address: str, port: int) -> str:
    with socket.create_connection((address, port), timeout=DEADLINE_S) as connection:
        return connection.makefile().read()


@pytest.mark.parametrize(("listens", "asked"), [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1")])
def test_answers_where_it_listens(listens: str, asked: str) -> None:
    server = serve_agent(listens, 0, lambda: "up ready 100%\n")
    try:
        assert answer(asked, server.server_address[1]) == "up ready 100%\n"
    finally:
        server.shutdown()
        server.server_close()


def test_silent_clients_hold_nobody_up() -> None:
    server = serve_agent("127.0.0.1", 0, lambda: "down # hangs\n")
    port = server.server_address[1]
    try:
        with ExitStack() as silent:
            for _ in range(40):
                silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S))
            assert answer("127.0.0.1", port) == "down # hangs\n"
    finally:
        server.shutdown()
        server.server_close()
