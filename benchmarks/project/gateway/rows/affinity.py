"""Affinity: how many blocks of prompts are found in a prefix cache, and whether hosts stay evenly busy."""

import asyncio
import json
import random
from contextlib import ExitStack
from pathlib import Path

from benchmarks.project.gateway.harness.bench import Bench, StandIn, chat, gateway, stand_ins, target_of
from benchmarks.project.gateway.harness.engine import BLOCK_BYTES, block_keys, prompt_of
from benchmarks.project.gateway.harness.figures import cached_share, oracle_share
from benchmarks.project.gateway.harness.load import closed_loop
from core.errors import CheckError
from tests.gateways import RunningGateway

ROW = "affinity"
HOSTS = 3
PLACES = 4
GROUPS = 60
"""Conversations, each with a long common beginning."""
COMMON_BYTES = 2048
CACHED_BLOCKS = 1200
"""Of one host: all hosts together hold all conversations, one alone does not."""
OURS = "affinity"
PLAIN = "leastconn"
HITS_GOAL = 0.95
MAKESPAN_GOAL = 1.05


def run(bench: Bench) -> None:
    """Send the same requests through the gateway, then with HAProxy's leastconn alone."""
    requests = bench.pick(3000, 900)
    chance = random.Random(7)  # noqa: S311
    groups = [chance.randrange(GROUPS) for _ in range(requests)]
    texts = [f"{group:04d} " + chr(ord("a") + group % 26) * COMMON_BYTES for group in range(GROUPS)]
    bodies = [chat(f"{texts[group]} {number:06d}", max_tokens=2) for number, group in enumerate(groups)]
    spans: dict[str, list[float]] = {OURS: [], PLAIN: []}
    shares: dict[str, list[float]] = {OURS: [], PLAIN: []}
    for _ in range(bench.pick(3, 1)):
        for way in (OURS, PLAIN):
            # Fresh stand-ins, so that each run begins with empty caches.
            with ExitStack() as stack:
                engines = stack.enter_context(
                    stand_ins(HOSTS, places=PLACES, prefill_s=0.1, token_s=0.02, cached_blocks=CACHED_BLOCKS)
                )
                ours = stack.enter_context(gateway(engines, PLACES))
                if way == PLAIN:
                    without_affinity(ours)
                seconds, share = _one(engines, ours, bodies)
                spans[way].append(seconds)
                shares[way].append(share)
    whole = len(block_keys("", prompt_of(json.loads(bodies[0]))))
    common = len(texts[0]) // BLOCK_BYTES
    oracle = oracle_share([(group, common) for group in groups], whole)
    hits, makespan = min(shares[OURS]) / oracle, min(spans[OURS]) / min(spans[PLAIN])
    bench.table.details[ROW] = {"oracle": oracle, "cached_share": shares, "makespan_s": spans}
    bench.at_least(
        ROW,
        "cached blocks against an oracle's",
        hits,
        HITS_GOAL,
        also=f" (leastconn {min(shares[PLAIN]) / oracle:.3f})",
    )
    spread = max(spans[PLAIN]) / min(spans[PLAIN]) - 1
    bench.at_most(
        ROW, "makespan against leastconn", makespan, MAKESPAN_GOAL, noise=f"leastconn {spread:.1%} between runs"
    )


def _one(engines: list[StandIn], ours: RunningGateway, bodies: list[bytes]) -> tuple[float, float]:
    """Return the seconds until all requests are answered, and the share of cached blocks."""
    # Half of the places: if all are taken, each request goes where one becomes free, and nobody has a choice.
    loop = closed_loop(target_of(ours), bodies.__getitem__, clients=HOSTS * PLACES // 2, requests=len(bodies))
    found = asyncio.run(loop)
    spent = max(each.ended for each in found) - min(each.sent for each in found)
    return spent, cached_share({engine.name: engine.events() for engine in engines})


def without_affinity(running: RunningGateway) -> None:
    """Let HAProxy's own `balance leastconn` choose the hosts: the same configuration without our choice."""
    config = Path(running.places.config)
    lines = config.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.lstrip().startswith("use-server ")]
    if len(kept) == len(lines):
        raise CheckError("the configuration has no use-server: this benchmark is older than the gateway", where=ROW)
    config.write_text("".join(kept))
    running.reload()
