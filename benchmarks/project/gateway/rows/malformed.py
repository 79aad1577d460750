"""Malformed requests: none reaches an engine, none hangs."""

import asyncio
import random
from collections import Counter

from benchmarks.project.gateway.harness.bench import Bench, chat, gateway, stand_ins, target_of
from benchmarks.project.gateway.harness.load import Connection, Result, Target, request_bytes
from tests.strict_reader import strict_value

ROW = "malformed requests"
PATIENCE_S = 20.0
AT_ONCE = 20
GOOD = chat('안녕 "하세요"\n😀')
INSERTED = (b",", b'"', b"\\", b"{", b"[", b"0", b"\xed\xa0\x80", b"\x00", b"//", b"NaN", b'"model":"tiny",')


def run(bench: Bench) -> None:
    """Send malformed JSON and malformed HTTP, each on a connection of its own."""
    with stand_ins(1) as (engine,), gateway([engine], 4) as ours:
        target = target_of(ours)
        requests = malformed(target, bench.pick(1000, 100))
        engine.events()
        found = asyncio.run(_send(target, requests))
        reached = [name for what, name, _, _ in engine.events() if what in ("arrive", "bad")]
    hung = [each for each in found if each.ended - each.sent > PATIENCE_S]
    bench.table.details[ROW] = {
        "statuses": dict(Counter(str(each.status) for each in found)),
        "reached": reached[:20],
    }
    bench.at_most(ROW, f"of {len(found)} malformed requests reached an engine", len(reached), 0)
    bench.at_most(ROW, f"of {len(found)} malformed requests hung", len(hung), 0)


def malformed(target: Target, count: int) -> list[bytes]:
    """Return requests of which each is malformed: three of four by their JSON, the rest by their HTTP."""
    chance = random.Random(5)  # noqa: S311
    requests: list[bytes] = []
    while len(requests) < count:
        if len(requests) % 4:
            body = broken(chance)
            try:
                strict_value(body)
            except ValueError:
                requests.append(request_bytes(target, f"bad-{len(requests)}", body))
        else:
            requests.append(chance.choice(BAD_HTTP)(request_bytes(target, f"bad-{len(requests)}", GOOD)))
    return requests


BAD_HTTP = (
    lambda whole: whole.replace(b"\r\nContent-Length: ", b"\r\nContent-Length: +"),
    lambda whole: whole.replace(b"\r\nContent-Length: ", b"\r\nContent-Length: 5\r\nContent-Length: "),
    lambda whole: whole.replace(b"\r\nContent-Length: ", b"\r\nTransfer-Encoding: chunked\r\nX-Length: ").replace(
        b"{", b"zz", 1
    ),
    lambda whole: whole.replace(b" HTTP/1.1", b" HTTP/1.9x"),
    lambda whole: whole.replace(b"POST ", b"PO ST "),
    lambda whole: whole.replace(b"Host: ", b"Ho st: "),
    lambda whole: whole.replace(b"Host: gateway", b"Host: gate\x00way"),
    lambda whole: whole.replace(b"application/json", b"application/\x07json"),
    lambda whole: whole.replace(b"/v1/chat", b"/v1/./chat"),
    lambda whole: whole.replace(b"/v1/chat", b"/v1%2fchat"),
    lambda whole: whole.replace(b"application/json\r\n", b"application/json\r\nContent-Encoding: gzip\r\n"),
    lambda whole: b"\x16\x03\x01" + whole,
)


def broken(chance: random.Random) -> bytes:
    """Return a good body with one to three places changed."""
    text = bytearray(GOOD)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text))
        match chance.randrange(4):
            case 0:
                del text[at : at + chance.randint(1, 20)]
            case 1:
                text[at] = chance.randrange(256)
            case 2:
                text[at:at] = chance.choice(INSERTED)
            case _:
                text[at:at] = text[at : at + chance.randint(1, 40)]
        if not text:
            return b"{"
    return bytes(text)


async def _send(target: Target, requests: list[bytes]) -> list[Result]:
    numbers = iter(range(len(requests)))
    found: list[Result] = []

    async def work() -> None:
        for number in numbers:
            connection = Connection(target)
            found.append(await connection.send(f"bad-{number}", requests[number], timeout_s=2 * PATIENCE_S))
            connection.close()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return found
