"""The load generator of the gateway's benchmark."""

import asyncio

from benchmarks.project.gateway.harness.load import Connection, Target

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_connection_that_the_server_closed_while_idle_is_opened_again() -> None:
    """A server may close an idle connection at any time: no answer is missing then."""
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async def ask_twice() -> list[int]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = Connection(Target(port=server.sockets[0].getsockname()[1]))
        first = await connection.ask("first", b"{}")
        await accepted[0].wait_closed()
        second = await connection.ask("second", b"{}")
        connection.close()
        server.close()
        return [first.status, second.status]

    assert asyncio.run(ask_twice()) == [200, 200]
    assert len(accepted) == 2
