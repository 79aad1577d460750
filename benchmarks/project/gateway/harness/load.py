"""Sends requests and measures them: non-blocking sockets on asyncio's loop, kept open, with or without TLS.

TLS is Python's SSLSocket without asyncio's streams: these cost a tenth of a millisecond for each read, which would
count as the gateway's.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

READ_BYTES = 1 << 18
WANT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where requests go."""

    port: int
    key: str = "none"
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One request as its client saw it; times in seconds of the monotonic clock."""

    name: str
    status: int
    """0: the connection broke."""
    sent: float
    first: float
    """When the first byte of the answer came; 0 if none came."""
    ended: float
    retry_after: float | None = None
    is_whole: bool = True
    """Whether the answer came to its end."""

    @property
    def ok(self) -> bool:
        """Whether the request was served in whole."""
        return self.status == 200 and self.is_whole  # noqa: PLR2004 (HTTP)

    @property
    def seconds(self) -> float:
        """Seconds from the request to the end of the answer."""
        return self.ended - self.sent

    @property
    def first_s(self) -> float:
        """Seconds to the first byte."""
        return self.first - self.sent


def request_bytes(target: Target, name: str, body: bytes, headers: str = "") -> bytes:
    """Return a POST of `body`."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {target.key}\r\n"
        f"Content-Type: application/json\r\nX-Request-Id: {name}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One connection that is opened when it is needed; one request at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None

    async def ask(self, name: str, body: bytes, headers: str = "", timeout_s: float = 120) -> Result:
        """Send a request and wait for the end of its answer."""
        return await self.send(name, request_bytes(self._target, name, body, headers), timeout_s)

    async def send(self, name: str, data: bytes, timeout_s: float = 120) -> Result:
        """Send bytes as they are and wait for the end of the one answer."""
        sent = time.monotonic()
        try:
            if self._socket is None or self._is_over():
                self.close()
                self.open()
                sent = time.monotonic()
            async with asyncio.timeout(timeout_s):
                return await self._exchange(name, data, sent)
        except (OSError, TimeoutError):
            self.close()
            return Result(name=name, status=0, sent=sent, first=0, ended=time.monotonic(), is_whole=False)
        except asyncio.CancelledError:
            self.close()
            raise

    def open(self) -> None:
        """Connect, handshake included. Blocks the loop: call it before the clock runs."""
        connection = socket.create_connection((self._target.address, self._target.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._target.tls:
            try:
                connection = self._target.tls.wrap_socket(connection, server_hostname=self._target.address)
            except OSError:
                connection.close()
                raise
        connection.setblocking(False)
        self._socket = connection

    def _is_over(self) -> bool:
        """Return whether the other side closed the connection while nothing was asked, as it may at any time."""
        assert self._socket is not None  # noqa: S101
        try:
            self._socket.recv(1)
        except WANT:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    async def _exchange(self, name: str, data: bytes, sent: float) -> Result:
        assert self._socket is not None  # noqa: S101
        connection, done = self._socket, self._loop.create_future()
        rest = memoryview(data)
        buffer = bytearray()
        first = 0.0

        def write() -> None:
            nonlocal rest
            try:
                while rest:
                    rest = rest[connection.send(rest) :]
            except WANT:
                return
            except OSError:
                pass  # what the other side has answered is read before its end is seen
            self._loop.remove_writer(connection)

        def read() -> None:
            nonlocal first
            try:
                while True:
                    part = connection.recv(READ_BYTES)
                    first = first or time.monotonic()
                    buffer.extend(part)
                    if not part or is_whole(buffer):
                        self._loop.remove_reader(connection)
                        if not done.done():
                            done.set_result(bool(part))
                        return
            except WANT:
                return
            except OSError as error:
                self._loop.remove_reader(connection)
                if not done.done():
                    done.set_exception(error)

        self._loop.add_reader(connection, read)
        self._loop.add_writer(connection, write)
        complete = await done
        status, retry_after, closes = read_head(bytes(buffer[: buffer.find(b"\r\n\r\n") + 4]))
        if not complete or closes:
            self.close()
        whole = complete or (closes and status > 0)
        return Result(
            name=name,
            status=status,
            sent=sent,
            first=first,
            ended=time.monotonic(),
            retry_after=retry_after,
            is_whole=whole,
        )


def is_whole(buffer: bytearray) -> bool:
    """Return whether an answer has come in whole. A chunked one ends as the stand-in's streams end."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(buffer[:end]).lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(buffer) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
    return b"chunked" in head and buffer.endswith(b"\r\n0\r\n\r\n") and len(buffer) > end + 4


def read_head(head: bytes) -> tuple[int, float | None, bool]:
    """Return status, Retry-After, and whether the other side closes the connection; status 0 without a head."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    if len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004 (version and status)
        return 0, None, True
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    given = headers.get("retry-after")
    return int(words[1]), float(given) if given else None, headers.get("connection", "").lower() == "close"


Bodies = Callable[[int], bytes]
"""Returns the body of the n-th request."""


async def closed_loop(
    target: Target, bodies: Bodies, *, clients: int, requests: int, spread_s: float = 0.0, prefix: str = "c"
) -> list[Result]:
    """Let `clients` send `requests` together, each its next one when its last one has ended."""
    numbers = iter(range(requests))
    results: list[Result] = []
    connections = [Connection(target) for _ in range(clients)]
    for connection in connections:
        connection.open()

    async def work(connection: Connection, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for number in numbers:
            results.append(await connection.ask(f"{prefix}-{number}", bodies(number)))

    await _together(work(connection, spread_s * i / clients) for i, connection in enumerate(connections))
    for connection in connections:
        connection.close()
    return results


async def open_loop(
    target: Target,
    bodies: Bodies,
    *,
    rate: float,
    seconds: float,
    prefix: str = "o",
    connections: int = 0,
    again: Callable[[int, Result], bool] = lambda _, __: False,
) -> tuple[list[Result], list[Result]]:
    """Send requests at a fixed rate, whatever happens to them. Return their results, and those of second tries.

    A refused request is sent a second time, after its Retry-After, if `again` says so.
    """
    idle = [Connection(target) for _ in range(connections)]
    for connection in idle:
        connection.open()
    first, second = [], []

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection(target)
        result = await connection.ask(f"{prefix}-{number}", bodies(number))
        idle.append(connection)
        first.append(result)
        if result.retry_after is not None and again(number, result):
            await asyncio.sleep(result.retry_after)
            connection = idle.pop() if idle else Connection(target)
            second.append(await connection.ask(f"{prefix}-{number}-again", bodies(number)))
            idle.append(connection)

    loop, begin, tasks = asyncio.get_running_loop(), asyncio.get_running_loop().time(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
        tasks.append(asyncio.ensure_future(one(number)))
    await _together(tasks)
    for connection in idle:
        connection.close()
    return first, second


async def _together(work: Iterator[Awaitable[None]] | Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*work)
