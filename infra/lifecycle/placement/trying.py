"""Tries places until one has capacity: zones and machine types in order, within a time limit, with a table.

Decides nothing about a cloud: the candidates, the attempt and what counts as out of stock are arguments.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from core.console import say, step
from core.errors import DeployError
from core.waiting.deadline import Deadline
from infra.automation.engine_errors import EngineTimeoutError
from infra.clouds.candidates import Candidate
from infra.contract.stack_placement import KnownPlacement

Result = TypeVar("Result")

Still = Callable[[list[Candidate], Candidate, DeployError], list[Candidate]]

ELSEWHERE = "name more zones or machine.fallbacks, another region or market, or try later"
LONGER = "raise machine.placement_timeout_s"
GATEWAY_LATER = "the other machines stay as they are; write another gateway.machine.type, or try later"
"""For a complete stack whose gateway alone has no machine: another place would move or change what runs."""


def offered(candidates: list[Candidate], stack: str) -> list[Candidate]:
    """Return the candidates. Raises DeployError when there are none."""
    if not candidates:
        raise DeployError("no zone offers the machine type", where=f"stack {stack}", hint="see `make preflight`")
    return candidates


def first_shown(candidates: list[Candidate], previous: KnownPlacement | None, stack: str) -> Candidate:
    """Return the candidate that a preview shows and plain `pulumi up` uses: the first to try.

    If no `up` of the stack has completed, prefer the zone of its blank disks. They are protected: the Pulumi engine
    refuses to preview their replacement, and a preview may not remove the protection. Raises DeployError when there is
    no candidate.
    """
    first = offered(candidates, stack)[0]
    if previous is not None and not previous.is_complete:
        return next((each for each in candidates if each.placement.zone == previous.zone), first)
    return first


@dataclass(frozen=True)
class Attempt:
    """One attempt and its result."""

    candidate: Candidate
    outcome: Literal["placed", "out of stock", "took too long", "not tried"]
    seconds: float = 0.0
    reason: str = ""
    """The cloud's error message."""


def place(
    candidates: Sequence[Candidate],
    attempt: Callable[[Candidate, float], Result],
    *,
    out_of_stock: Callable[[str], str | None],
    timeout_s: float,
    stays: Callable[[DeployError], str] = lambda _error: "",
    still: Still = lambda left, _tried, _error: left,
    hint: str = ELSEWHERE,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Result, list[Attempt]]:
    """Return the result of the first attempt that found capacity, and all attempts.

    An attempt gets the number of seconds that it may take. If an error only means that this place has no capacity,
    `out_of_stock` returns the cloud's message. Every other error stops at once, and also one for which `stays` returns
    a hint. `still` returns the candidates that may help after an error. Raises DeployError with a table and the `hint`
    when all candidates have failed or the time is over.
    """
    end, tried, queue = Deadline.after(timeout_s, clock), list[Attempt](), list(candidates)
    while queue:
        left_s = end.left_s()
        if not left_s:
            tried += [Attempt(each, "not tried") for each in queue]
            break
        candidate = queue.pop(0)
        start = clock()
        try:
            with step(f"make the machines: {candidate}"):
                result = attempt(candidate, left_s)
        except EngineTimeoutError as error:
            tried.append(Attempt(candidate, "took too long", clock() - start, error.what))
            continue
        except DeployError as error:
            reason = out_of_stock(f"{error}\n{error.detail}")
            if reason is None:
                raise
            if own_hint := stays(error):
                error.hint = own_hint
                raise
            tried.append(Attempt(candidate, "out of stock", clock() - start, reason))
            say(f"  {candidate}: out of stock")
            queue = still(queue, candidate, error)
            continue
        tried.append(Attempt(candidate, "placed", clock() - start))
        return result, tried
    is_over = any(each.outcome in ("took too long", "not tried") for each in tried)
    raise DeployError(
        f"no machines within {timeout_s:.0f} s" if is_over else "no machines anywhere",
        where="placement",
        hint=f"{hint}, or {LONGER}" if is_over else hint,
        detail=table(tried),
    )


def table(tried: Sequence[Attempt]) -> str:
    """Return a table of the attempts."""
    rows = [("zone", "type", "outcome", "seconds", "")]
    for each in tried:
        placement = each.candidate.placement
        seconds = f"{each.seconds:.0f}" if each.outcome != "not tried" else "-"
        rows.append((placement.zone, each.candidate.types, each.outcome, seconds, each.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for *cells, reason in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join(["", *padded, reason]).rstrip())
    return "\n".join(lines)
