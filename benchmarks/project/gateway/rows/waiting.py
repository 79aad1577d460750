"""Idle while queued: no request waits while a host that could take it has a free place."""

import asyncio
from dataclasses import dataclass

from benchmarks.project.gateway.harness.bench import Bench, chat, gateway, stand_ins, target_of
from benchmarks.project.gateway.harness.figures import idle_while_waiting, most_at_once, ms, percentile
from benchmarks.project.gateway.harness.load import Result, closed_loop

ROW = "idle while queued"
HOSTS = 3
PLACES = 4


def run(bench: Bench) -> None:
    """Keep twice as many clients as places busy, and read the stand-ins' logs.

    A request also takes some time to a free place when nothing is wrong. The control is one host with all places, where
    the gateway has nothing to choose: what it shows at most is the machine's.
    """
    requests = bench.pick(10_000, 1000)
    control = _idle(1, HOSTS * PLACES, requests)
    ours = _idle(HOSTS, PLACES, requests)
    worst = max(control.idle.values())
    over = sum(seconds > worst for seconds in ours.idle.values())
    for name, each in (("one host", control), (f"{HOSTS} hosts", ours)):
        bench.table.details[f"{ROW}: {name}"] = {
            "requests": len(each.found),
            "failed": sum(not result.ok for result in each.found),
            "idle_ms": {str(p): round(percentile(each.idle.values(), p) * 1000, 3) for p in (50, 99, 99.9, 100)},
            "most_at_once_in_an_engine": each.most,
        }
    noise = f"p50 {ms(percentile(control.idle.values(), 50))}, p99.9 {ms(percentile(control.idle.values(), 99.9))}"
    name = f"of {requests} waited beside a free place longer than with one host ({ms(worst)})"
    bench.at_most(ROW, name, over, 0, noise=noise)
    bench.at_most(ROW, f"requests at once in an engine of {PLACES} places", ours.most, PLACES)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One run: what clients saw, how long requests waited beside a free place, and the most requests in one engine."""

    found: list[Result]
    idle: dict[str, float]
    most: int


def _idle(hosts: int, places: int, requests: int) -> Seen:
    # The engines would take more, so that they show when the gateway sends too many.
    with (
        stand_ins(hosts, places=2 * places, prefill_s=0.04, token_s=0.002) as engines,
        gateway(engines, places) as ours,
    ):
        loop = closed_loop(
            target_of(ours),
            lambda number: chat(f"{number % 97} {number}", max_tokens=4 + number % 16),
            clients=2 * HOSTS * PLACES,
            requests=requests,
        )
        found = asyncio.run(loop)
        events = {engine.name: engine.events() for engine in engines}
    idle = idle_while_waiting({each.name: each.sent for each in found}, events, places)
    return Seen(found=found, idle=idle, most=max(most_at_once(logged) for logged in events.values()))
