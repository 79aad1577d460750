"""Overhead: what a request takes longer through a gateway than to the engine called directly, 50 at a time."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.project.gateway.harness.bench import Bench, chat, computed_s, gateway, stand_ins, target_of
from benchmarks.project.gateway.harness.figures import ms, percentile
from benchmarks.project.gateway.harness.load import Bodies, Result, Target, closed_loop
from benchmarks.project.gateway.harness.others import OTHERS, running, version
from core.console import say
from core.errors import CheckError

ROW = "overhead"
CLIENTS = 50
SPREAD_S = 1.0
"""Time of an answer. It is so long that 50 clients do not fill this machine's processors: that would measure their
queue instead."""
DIRECT = "direct"
OURS = "this gateway"
AGAIN = "direct again"
LONG = "계약서를 검토해 주세요. The quick brown fox jumps over the lazy dog. "
LARGE_BYTES = 220_000


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One kind of request, and the goals for its median and 99th percentile, in seconds."""

    name: str
    bodies: Bodies
    goals_s: tuple[float | None, float]
    seconds: Callable[[Result], float] = lambda result: result.seconds


def _large(number: int) -> bytes:
    return chat(f"{number} {LONG * (LARGE_BYTES // len(LONG.encode()))}")


MODES = (
    Mode(name="not streaming", bodies=lambda number: chat(f"{number} {LONG}"), goals_s=(0.0004, 0.0015)),
    Mode(
        name="first byte of a stream",
        bodies=lambda number: chat(f"{number} {LONG}", stream=True),
        goals_s=(0.0004, 0.0015),
        seconds=lambda result: result.first_s,
    ),
    Mode(name="220 KB bodies", bodies=_large, goals_s=(None, 0.005)),
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to the engine, and the process whose computing time it costs; 0: none."""

    target: Target
    pid: int = 0


def run(bench: Bench) -> None:
    """Measure all modes on all ways in turns, so that a busy machine slows all of them alike."""
    with ExitStack() as stack:
        (engine,) = stack.enter_context(stand_ins(1, places=4 * CLIENTS, prefill_s=SPREAD_S - 0.08, token_s=0.01))
        ours = stack.enter_context(gateway([engine], 4 * CLIENTS))
        direct = Way(target=Target(port=engine.port))
        ways = {DIRECT: direct, OURS: Way(target=target_of(ours), pid=ours.process.pid), AGAIN: direct}
        for other in OTHERS:
            name = f"{other.name} {version(other.lock)}"
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-other")))
            try:
                target, pid = stack.enter_context(running(other, engine.port, folder))
                ways[name] = Way(target=target, pid=pid)
            except CheckError as error:
                say(f"  {name} is not measured: {error} {error.detail}".rstrip())
        for mode in MODES:
            _measure(bench, mode, ways)


def _measure(bench: Bench, mode: Mode, ways: Mapping[str, Way]) -> None:
    rounds = bench.pick(5, 2)
    requests = bench.pick(200, 100)
    results: dict[str, list[Result]] = {name: [] for name in ways}
    costs = dict.fromkeys(ways, 0.0)
    for name, way in ways.items():  # the first requests also fill caches
        asyncio.run(closed_loop(way.target, mode.bodies, clients=CLIENTS, requests=CLIENTS, prefix=f"first-{name[0]}"))
    for number in range(rounds):
        for name, way in ways.items():
            before = computed_s(way.pid)
            found = closed_loop(
                way.target, mode.bodies, clients=CLIENTS, requests=requests, spread_s=SPREAD_S, prefix=f"{number}"
            )
            results[name] += asyncio.run(found)
            costs[name] += computed_s(way.pid) - before
    seconds = {name: [mode.seconds(each) for each in found if each.ok] for name, found in results.items()}
    failed = {name: len(found) - len(seconds[name]) for name, found in results.items()}
    bench.table.details[f"{ROW}: {mode.name}"] = {
        name: {
            "requests": len(results[name]),
            "failed": failed[name],
            "ms": {str(percent): round(percentile(values, percent) * 1000, 3) for percent in (50, 90, 99, 100)},
            "computed_ms_per_request": round(costs[name] / len(results[name]) * 1000, 3),
        }
        for name, values in seconds.items()
    }
    for name in (each for each in ways if each not in (DIRECT, AGAIN)):
        shown = f"{mode.name}: {name}" + (f", {failed[name]} failed" if failed[name] else "")
        for percent, goal in zip((50, 99), mode.goals_s, strict=True):
            base = percentile(seconds[DIRECT], percent)
            noise = f"{ms(percentile(seconds[AGAIN], percent) - base)} direct against direct"
            more = percentile(seconds[name], percent) - base
            bench.at_most(ROW, f"{shown}, p{percent}", more, goal if name == OURS else None, unit="ms", noise=noise)
        bench.at_most(ROW, f"{shown}, its computing time", costs[name] / len(results[name]), None, unit="ms")
