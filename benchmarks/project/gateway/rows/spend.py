"""Spending: many requests at once, a service that is killed at every step, answers without usage; the cap holds."""

import http.client
import random
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from benchmarks.project.gateway.harness.bench import Bench, wait_for
from core.errors import CheckError
from services.overflow.money import NANO, as_usd, cost
from services.overflow.settings import Cap
from tests.doubles.llm_provider import ProviderDouble, running_provider
from tests.overflows import PRICE_IN, PRICE_OUT, RICH, RunningOverflow, provider_at, running_overflow, spent_in

ROW = "spend"
MOMENTS = ("received", "computed", "begun", "first", "last", "usage", "done")
CENT = NANO // 100
TOKENS = 400
DAY_PER_REQUEST = NANO // 250
"""The cap of a day for each request at once: less than the worst case of a request, so that a round reaches it."""


def run(bench: Bench) -> None:
    """Ask until the cap is reached, with a kill in most rounds. The provider's own count is the truth."""
    at_once = bench.pick(500, 50)
    moments = MOMENTS * bench.pick(3, 1)
    cap = Cap(at_once * DAY_PER_REQUEST, RICH.month)
    outcomes: Counter[str] = Counter()
    missing = kills = 0
    with running_provider() as provider, tempfile.TemporaryDirectory(prefix="bench-spend") as name:
        folder = Path(name)
        ledger = str(folder / "ledger.sqlite3")
        for moment in (*moments, ""):
            with running_overflow(
                folder, provider_at(provider), cap=_rest(ledger, cap, len(moments)) if moment else cap
            ) as service:
                kills += _round(service, provider, moment, at_once, outcomes)
            missing += charged(provider) > spent_in(ledger)
        spent = charged(provider)
        reserved = spent_in(ledger)
    bench.table.details[ROW] = {"outcomes": dict(outcomes), "kills": kills, "charged_usd": as_usd(spent)}
    also = f" (charged {as_usd(spent)[:-5]}, in the ledger {as_usd(reserved)[:-5]} of {as_usd(cap.day)[:-7]} USD)"
    over = max(0, spent - cap.day) / CENT
    bench.at_most(ROW, f"cents above the cap: {at_once} at once, {kills} kills", over, 0, also=also)
    bench.at_most(ROW, f"rounds of {len(moments) + 1} with a charge that the ledger lacks", missing, 0)
    if not outcomes["429"]:
        raise CheckError("the cap was never reached", where=ROW, hint="ask more often")


def charged(provider: ProviderDouble) -> int:
    """Return what the provider charges, in nano-USD."""
    return sum(cost(tokens_in, PRICE_IN, tokens_out, PRICE_OUT) for tokens_in, tokens_out in provider.used)


def _rest(ledger: str, cap: Cap, rounds: int) -> Cap:
    """Return a cap that leaves the rounds with a kill something to spend, and the last round too."""
    spent = spent_in(ledger) if Path(ledger).exists() else 0
    return Cap(min(cap.day, spent + cap.day // (rounds + 2)), RICH.month)


def _round(
    service: RunningOverflow, provider: ProviderDouble, moment: str, at_once: int, outcomes: Counter[str]
) -> int:
    """Ask with all threads until all are refused or the service is dead; return how often it was killed."""
    chance = random.Random(moment)  # noqa: S311
    countdown = chance.randint(1, 2)

    def at(now: str) -> None:
        nonlocal countdown
        if now == "received":
            # A third of the answers are without usage.
            (provider.faults.add if chance.random() < 1 / 3 else provider.faults.discard)("no_usage")
        if now == moment:
            countdown -= 1
            if countdown == 0:
                service.process.kill()

    provider.at = at

    def ask(number: int) -> str:
        with suppress(OSError, http.client.HTTPException):
            return str(service.ask(stream=number % 2 == 0, max_tokens=TOKENS).status)
        return "broken off"

    with ThreadPoolExecutor(at_once) as people:
        outcomes.update(people.map(ask, range(at_once)))
    provider.at = lambda _moment: None
    killed = 0 if moment == "" or service.process.poll() is None else 1
    if killed:
        wait_for(lambda: service.process.poll() is not None, "the kill")
    return killed
