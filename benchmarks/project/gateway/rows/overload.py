"""Ten times more requests than the engines can compute, at a fixed rate: goodput, refusals, second tries, memory."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.project.gateway.harness.bench import Bench, chat, gateway, memory_mib, stand_ins, target_of
from benchmarks.project.gateway.harness.figures import growth, percentile
from benchmarks.project.gateway.harness.load import Connection, Result, Target, closed_loop, open_loop
from tests.gateways import RunningGateway

ROW = "10x overload"
HOSTS = 2
PLACES = 4
TIMES = 10
QUEUE = 32
RETURNING = 100
"""One of so many refused requests honours Retry-After. If all did, as few of them as of the first could be served."""
NORMAL = 1.5
"""A probe is normal if it takes at most so many times its time before the overload."""
REFUSED = (429, 503)
GOODPUT = 0.98
REFUSED_S = 0.02
CAME_BACK = 0.9
GROWN = 0.05
AGAIN_S = 2.0
PROBE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """First and second tries, samples of HAProxy's memory, and the seconds until a probe was normal again."""

    first: list[Result]
    second: list[Result]
    memory: list[float]
    again_s: float


def run(bench: Bench) -> None:
    """Measure the saturation, then the overload, then how soon single requests are normal again."""
    seconds = bench.pick(60, 6)
    with (
        stand_ins(HOSTS, places=PLACES, prefill_s=0.16, token_s=0.005) as engines,
        gateway(engines, PLACES, max_queue=QUEUE, queue_timeout_s=10) as ours,
    ):
        target = target_of(ours)
        full = closed_loop(target, _body, clients=3 * HOSTS * PLACES, requests=bench.pick(600, 150), prefix="full")
        found = asyncio.run(full)
        saturation = len(found) / (max(each.ended for each in found) - min(each.sent for each in found))
        alone = asyncio.run(closed_loop(target, _body, clients=1, requests=20, prefix="alone"))
        normal_s = NORMAL * percentile([each.seconds for each in alone], 90)
        seen = asyncio.run(_overload(target, ours, saturation * TIMES, seconds, normal_s))
    _report(bench, saturation, seconds, seen)


def _body(number: int) -> bytes:
    return chat(f"{number}")


async def _overload(target: Target, ours: RunningGateway, rate: float, seconds: float, normal_s: float) -> Seen:
    memory: list[float] = []

    async def sample() -> None:
        while True:
            memory.append(memory_mib(ours))
            await asyncio.sleep(0.5)

    async def until_normal() -> float:
        await asyncio.sleep(seconds)
        over = time.monotonic()
        probe = Connection(target)
        result = await probe.ask("probe", _body(0))
        while not (result.ok and result.seconds <= normal_s) and time.monotonic() - over < PROBE_S:
            result = await probe.ask("probe", _body(0))
        probe.close()
        return result.sent - over

    sampling, probing = asyncio.ensure_future(sample()), asyncio.ensure_future(until_normal())
    first, second = await open_loop(
        target,
        _body,
        rate=rate,
        seconds=seconds,
        connections=2 * QUEUE,
        again=lambda number, _: number % RETURNING == 0,
    )
    again_s = await probing
    sampling.cancel()
    return Seen(first=first, second=second, memory=memory, again_s=again_s)


def _report(bench: Bench, saturation: float, seconds: float, seen: Seen) -> None:
    first, second = seen.first, seen.second
    end = min(each.sent for each in first) + seconds
    served = [each for each in first if each.ok and each.ended <= end]
    # The first and last seconds fill and empty the queue.
    goodput = len(served) / seconds / saturation
    refused = [each.seconds for each in first if each.status in REFUSED]
    quick = [each.seconds for each in first if each.status in REFUSED and each.retry_after is not None]
    broken = [each for each in first if each.status not in (200, *REFUSED)]
    came_back = sum(each.ok for each in second) / len(second) if second else 0.0
    bench.table.details[ROW] = {
        "saturation_per_s": saturation,
        "sent": len(first),
        "served": len(served),
        "refused": len(refused),
        "with_retry_after": len(quick),
        "broken": sorted(each.status for each in broken),
        "second_tries_by_status": Counter(str(each.status) for each in second),
        "second_tries": len(second),
        "retry_after_s": sorted({each.retry_after for each in first if each.retry_after is not None})[:20],
        "memory_mib": [round(each, 1) for each in seen.memory],
        "refused_ms": {str(p): round(percentile(refused, p) * 1000, 2) for p in (50, 90, 99, 100)},
        "wait_of_served_s": {str(p): round(percentile([e.seconds for e in served], p), 3) for p in (50, 90, 99, 100)},
    }
    name = f"{TIMES}x overload, {seconds:g} s"
    bench.at_least(ROW, f"{name}: goodput against saturation", goodput, GOODPUT)
    slow = percentile(refused, 99)
    bench.at_most(ROW, f"{name}: refusals, p99", slow, REFUSED_S, unit="ms", noise=f"{len(first)} sent")
    bench.at_most(ROW, f"{name}: requests without an answer", len(broken), 0)
    bench.at_least(ROW, f"{name}: served at the second try, of {len(second)}", came_back, CAME_BACK)
    grown = growth(seen.memory)
    bench.at_most(
        ROW, f"{name}: HAProxy's memory grows", grown, GROWN, unit="%", also=f" of {max(seen.memory):.0f} MiB"
    )
    bench.at_most(ROW, f"{name}: normal again after", seen.again_s, AGAIN_S, unit="s")
