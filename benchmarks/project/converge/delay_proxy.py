"""A TCP proxy on loopback that adds a round trip time without lowering the throughput, and can reset connections.

For kernels without `sch_netem`. Each direction is a queue of chunks, and sends a chunk half a round trip after it came
in. A new connection also takes the time of TCP's handshake, which a proxy normally hides.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK_BYTES = 256 * 1024
HANDSHAKE_ROUND_TRIPS = 1.5
"""Round trips from the client's first packet until the server's accept returns."""


class DelayProxy:
    """Listens on `port` of 127.0.0.1 and forwards to `target`."""

    def __init__(self, target: tuple[str, int], *, round_trip_s: float) -> None:
        self._target = target
        self._round_trip_s = round_trip_s
        self._loop = asyncio.new_event_loop()
        self._pipes: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0
        """Number of connections so far."""
        self.bytes_up = 0
        """Bytes from clients."""
        self.bytes_down = 0
        """Bytes from the server."""

    @contextmanager
    def running(self) -> Iterator["DelayProxy"]:
        """Serve in the block."""
        started = threading.Event()
        thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        thread.start()
        started.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    def cut(self) -> None:
        """Reset all open connections, like a network failure."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        self._reset_all()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _reset_all(self) -> None:
        for pipe in self._pipes:
            pipe.transport.abort()
        self._pipes.clear()

    async def _accept(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._adopt(client_out)
        with contextlib.suppress(asyncio.CancelledError):  # the proxy stops; asyncio would print this as an error
            await asyncio.sleep(self._round_trip_s * HANDSHAKE_ROUND_TRIPS)
            try:
                server_in, server_out = await asyncio.open_connection(*self._target)
            except OSError:
                client_out.transport.abort()
                return
            self._adopt(server_out)
            up = self._pass_on(client_in, server_out, up=True)
            down = self._pass_on(server_in, client_out, up=False)
            await asyncio.gather(up, down)

    def _adopt(self, pipe: asyncio.StreamWriter) -> None:
        pipe.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pipes.add(pipe)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        """Read without waiting for the writer, and write each chunk at its due time."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writer = asyncio.create_task(self._write_when_due(due, sink))
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                if up:
                    self.bytes_up += len(chunk)
                else:
                    self.bytes_down += len(chunk)
                due.put_nowait((self._loop.time() + self._round_trip_s / 2, chunk))
        due.put_nowait((self._loop.time() + self._round_trip_s / 2, b""))
        await writer

    async def _write_when_due(self, due: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                moment, chunk = await due.get()
                await asyncio.sleep(max(0.0, moment - self._loop.time()))
                if not chunk:
                    break
                sink.write(chunk)
                await sink.drain()
        sink.close()
        self._pipes.discard(sink)
