"""Throughput at saturation: requests a second through the gateway against the engine called directly."""

import asyncio
import statistics

from benchmarks.project.gateway.harness.bench import Bench, chat, gateway, stand_ins, target_of
from benchmarks.project.gateway.harness.load import Target, closed_loop

ROW = "saturation"
PLACES = 16
GOAL = 0.97


def _body(number: int) -> bytes:
    """Return requests of different lengths, so that they do not all end at the same time."""
    return chat(f"{number}", max_tokens=4 + number % 9)


def run(bench: Bench) -> None:
    """Measure both in turns; more clients than places keep the engine full."""
    requests, rounds = bench.pick(400, 100), bench.pick(3, 2)
    rates: dict[str, list[float]] = {"direct": [], "gateway": []}
    with stand_ins(1, places=PLACES, prefill_s=0.4, token_s=0.05) as (engine,), gateway([engine], PLACES) as ours:
        targets = {"direct": Target(port=engine.port), "gateway": target_of(ours)}
        for number in range(rounds):
            for name, target in targets.items():
                loop = closed_loop(target, _body, clients=3 * PLACES, requests=requests, prefix=f"{number}")
                found = asyncio.run(loop)
                spent = max(each.ended for each in found) - min(each.sent for each in found)
                rates[name].append(sum(each.ok for each in found) / spent)
    share = statistics.median(rates["gateway"]) / statistics.median(rates["direct"])
    spread = (max(rates["direct"]) - min(rates["direct"])) / statistics.median(rates["direct"])
    bench.table.details[ROW] = rates
    bench.at_least(
        ROW,
        f"throughput at saturation, {PLACES} places, against direct",
        share,
        GOAL,
        also=f" ({statistics.median(rates['gateway']):.0f}/s)",
        noise=f"{spread:.1%} between rounds of direct",
    )
