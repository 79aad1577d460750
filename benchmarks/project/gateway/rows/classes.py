"""Interactive requests beside a batch that fills all places: their wait, and whether the batch goes on."""

import asyncio

from benchmarks.project.gateway.harness.bench import Bench, chat, gateway, stand_ins, target_of
from benchmarks.project.gateway.harness.figures import ms, percentile
from benchmarks.project.gateway.harness.load import Connection, Result, closed_loop
from serving.spec.gateway_clients import ClientSpec
from tests.gateways import CLIENT, SECOND_CLIENT, SECOND_KEY

ROW = "interactive beside batch"
HOSTS = 2
PLACES = 4
GOAL = 1.1
BATCH_GOAL = 0.1
"""It goes on."""


def run(bench: Bench) -> None:
    """Measure the interactive client alone at 80 % of the places, then beside the batch."""
    clients = tuple(
        ClientSpec.model_validate({"name": name, "class": kind})
        for name, kind in ((CLIENT, "interactive"), (SECOND_CLIENT, "batch"))
    )
    requests = bench.pick(1000, 150)
    waits: dict[str, list[Result]] = {}
    with (
        stand_ins(HOSTS, places=PLACES, prefill_s=0.05, token_s=0.0025) as engines,
        gateway(engines, PLACES, clients=clients) as ours,
    ):
        interactive, batch = target_of(ours), target_of(ours, SECOND_KEY)
        # More clients than places, so that interactive requests wait for each other without a batch too.
        many = {"clients": 2 * HOSTS * PLACES, "requests": requests}
        waits["alone"] = asyncio.run(closed_loop(interactive, _body, prefix="alone", **many))

        async def both() -> tuple[list[Result], list[Result]]:
            done: list[Result] = []
            workers = [asyncio.ensure_future(_endless(Connection(batch), done, n)) for n in range(4 * HOSTS * PLACES)]
            await asyncio.sleep(1)
            found = await closed_loop(interactive, _body, prefix="beside", **many)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            return found, done

        waits["beside"], done = asyncio.run(both())
    span = (min(each.sent for each in waits["beside"]), max(each.ended for each in waits["beside"]))
    batch_rate = sum(each.ok and span[0] < each.ended < span[1] for each in done) / (span[1] - span[0])
    p95 = {name: percentile([each.seconds for each in found if each.ok], 95) for name, found in waits.items()}
    bench.table.details[ROW] = {
        "p95_ms": {name: round(value * 1000, 2) for name, value in p95.items()},
        "failed": {name: sum(not each.ok for each in found) for name, found in waits.items()},
        "batch_per_s": batch_rate,
    }
    times = p95["beside"] / p95["alone"]
    bench.at_most(
        ROW, "interactive p95 beside a saturating batch, against alone", times, GOAL, also=f" ({ms(p95['beside'])})"
    )
    bench.at_least(ROW, "requests a second of the batch meanwhile", batch_rate, BATCH_GOAL)


def _body(number: int) -> bytes:
    return chat(f"{number}")


async def _endless(connection: Connection, done: list[Result], worker: int) -> None:
    """Send one batch request after the other."""
    try:
        for number in range(1_000_000):
            done.append(await connection.ask(f"batch-{worker}-{number}", _body(number)))
            if not done[-1].ok:
                await asyncio.sleep(done[-1].retry_after or 0.1)
    finally:
        connection.close()
