"""A host that is killed, and one that is drained: what clients see, and how soon it gets no more requests."""

import asyncio
import time
from collections.abc import Callable

from benchmarks.project.gateway.harness.bench import (
    Bench,
    StandIn,
    chat,
    gateway,
    stand_ins,
    state,
    target_of,
    wait_for,
)
from benchmarks.project.gateway.harness.figures import percentile
from benchmarks.project.gateway.harness.load import Connection, Result, Target
from tests.gateways import RunningGateway

ROW = "host killed, drained"
HOSTS = 3
PLACES = 4
CLIENTS = 6
KILLED_GOAL_S = 5.0
DRAINED_GOAL_S = 1.0


def run(bench: Bench) -> None:
    """Kill and drain the first host again and again while clients stream."""
    trials = bench.pick(50, 3)
    with (
        stand_ins(HOSTS, places=PLACES, prefill_s=0.05, token_s=0.01) as engines,
        gateway(engines, PLACES, agent=True) as ours,
    ):
        for name, goal, fault in (("killed", KILLED_GOAL_S, _kill), ("drained", DRAINED_GOAL_S, _drain)):
            out, results = [], []
            for number in range(trials):
                seconds, found = asyncio.run(_trial(ours, engines[0], fault, f"{name}-{number}"))
                out.append(seconds)
                results += found
                _mend(ours, engines[0], name)
            _report(bench, name, goal, out, results)


def _report(bench: Bench, name: str, goal: float, out: list[float], results: list[Result]) -> None:
    before = [each for each in results if not each.ok and not (each.first and each.status == 200)]  # noqa: PLR2004 (HTTP)
    cut = [each for each in results if not each.is_whole and each.first and each.status == 200]  # noqa: PLR2004 (HTTP)
    spread = ", ".join(f"p{p:g} {percentile(out, p):.2f}" for p in (50, 90, 100))
    bench.table.details[f"{ROW}: {name}"] = {
        "out_of_rotation_s": [round(each, 3) for each in out],
        "requests": len(results),
        "errors_before_the_first_byte": sorted({each.status for each in before}),
        "streams_cut": len(cut),
    }
    bench.at_most(ROW, f"host {name}: out of rotation, worst of {len(out)}", max(out), goal, unit="s", noise=spread)
    bench.at_most(ROW, f"host {name}: errors before the first byte, of {len(results)}", len(before), 0)
    bench.at_most(ROW, f"host {name}: streams that broke off", len(cut), 0 if name == "drained" else None)


async def _trial(
    ours: RunningGateway, engine: StandIn, fault: Callable[[StandIn], None], prefix: str
) -> tuple[float, list[Result]]:
    """Return the seconds from the fault until HAProxy gives the host no more requests, and what clients saw."""
    results: list[Result] = []
    workers = [asyncio.ensure_future(_stream(target_of(ours), results, f"{prefix}-{n}")) for n in range(CLIENTS)]
    await asyncio.sleep(0.4)
    began = time.monotonic()
    await asyncio.to_thread(fault, engine)
    await asyncio.to_thread(wait_for, lambda: not state(ours, engine.name).startswith("UP"), "the host to be out")
    out = time.monotonic() - began
    await asyncio.sleep(0.4)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return out, results


async def _stream(target: Target, results: list[Result], prefix: str) -> None:
    """Send one streamed request after the other."""
    connection = Connection(target)
    try:
        for number in range(1_000_000):
            results.append(await connection.ask(f"{prefix}-{number}", chat(f"{prefix} {number}", stream=True)))
    finally:
        connection.close()


def _kill(engine: StandIn) -> None:
    engine.kill()


def _drain(engine: StandIn) -> None:
    engine.control("POST", "/control/agent/drain")


def _mend(ours: RunningGateway, engine: StandIn, name: str) -> None:
    """Bring the host back into rotation."""
    if name == "killed":
        engine.start()
    else:
        engine.control("POST", "/control/agent/up,ready")
    wait_for(lambda: state(ours, engine.name).startswith("UP"), "the host to be back")
