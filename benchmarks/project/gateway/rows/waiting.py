"""Idle while queued: no request waits while a host that could take it has a free place."""

import asyncio
import time

from benchmarks.project.gateway.harness.bench import Bench, chat, gateway, stand_ins_together, target_of
from benchmarks.project.gateway.harness.figures import most_at_once, ms, passed_over, percentile, refills
from benchmarks.project.gateway.harness.load import Result, Target, closed_loop

ROW = "idle while queued"
HOSTS = 6
PLACES = 2
"""Few places on many hosts: a request that waits for one certain host waits for half of a request's time."""
TOLERANCE_S = 0.010
"""The gateway's own turn-around, from the end of an answer to the next request's arrival at the host. On a busy machine
the tolerance is the longest delay of a timer during the run: no process can be quicker than the machine lets it."""
TIMER_S = 0.005


START_S = 1.0
"""Until then a queue has formed."""


def run(bench: Bench) -> None:
    """Keep twice as many clients as places busy, and read the stand-ins' logs: each end of a request frees a place.

    A place was left idle if a request waited, and a place that was free later was given away before, both by more than
    the tolerance. A slow gateway gives places away late, but in the order in which they were free.
    """
    requests = bench.pick(10_000, 1000)
    # The engines would take more, so that they show when the gateway sends too many.
    with (
        stand_ins_together(HOSTS, places=2 * PLACES, prefill_s=0.1, token_s=0.004) as engines,
        gateway(engines, PLACES) as ours,
    ):
        found, late_s = asyncio.run(_load(target_of(ours), requests))
        events = {engine.name: engine.events() for engine in engines}
    taken = refills({each.name: each.sent for each in found}, events, PLACES, START_S)
    idle = [each.idle_s for each in taken]
    tolerance_s = max(TOLERANCE_S, late_s)
    over = len(passed_over(taken, tolerance_s))
    most = max(most_at_once(logged) for logged in events.values())
    bench.table.details[ROW] = {
        "requests": len(found),
        "failed": sum(not result.ok for result in found),
        "refills": len(taken),
        "tolerance_ms": round(tolerance_s * 1000, 3),
        "turn_around_ms": {str(p): round(percentile(idle, p) * 1000, 3) for p in (50, 90, 99, 99.9, 100)},
        "most_at_once_in_an_engine": most,
    }
    noise = f"turn-around p50 {ms(percentile(idle, 50))}, p99.9 {ms(percentile(idle, 99.9))}, worst {ms(max(idle))}"
    name = f"of {len(taken)} freed places left idle beside a queue (tolerance {ms(tolerance_s)})"
    bench.at_most(ROW, name, over, 0, noise=noise)
    bench.at_most(ROW, f"requests at once in an engine of {PLACES} places", most, PLACES)


async def _load(target: Target, requests: int) -> tuple[list[Result], float]:
    """Return the results, and the longest delay of a timer in seconds."""
    late_s = 0.0

    async def watch() -> None:
        nonlocal late_s
        while True:
            due = time.monotonic() + TIMER_S
            await asyncio.sleep(TIMER_S)
            late_s = max(late_s, time.monotonic() - due)

    watching = asyncio.ensure_future(watch())
    found = await closed_loop(
        target,
        lambda number: chat(f"{number % 97} {number}", max_tokens=1 + number % 12),
        clients=2 * HOSTS * PLACES,
        requests=requests,
    )
    watching.cancel()
    return found, late_s
