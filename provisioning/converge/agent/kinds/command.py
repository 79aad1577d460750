"""A command for what no other kind covers."""

from __future__ import annotations

import os

from ..events import Failure, RebootNeeded
from ..process import Process, run, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

CHECK_TIMEOUT_S = 30
REASON = "error: "
"""Prefix of the line in which one of this project's programs says why it failed."""

WARNING = "warning: "
"""Prefix of a line to show among the changes although the program succeeded."""

PLANNED = "planned: "
"""Prefix of the line in which a check says what the command would do."""

REFUSED = "fail: "
"""Second prefix of such a line if the command would fail; the reason follows."""


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:  # noqa: ARG001
    """Start all checks at once; the returned function waits for them."""
    checks = [_start(resource) for resource in resources]
    return lambda: [_finish(resource, check) for resource, check in zip(resources, checks)]


def _start(resource: Any) -> Process | None:
    if not resource.check:
        return None
    try:
        return Process(resource.check, env=resource.env, user=resource.user)
    except Failure:
        return None


def _finish(resource: Any, check: Process | None) -> Fact:
    if check is None:
        return {"done": bool(resource.creates) and os.path.lexists(resource.creates), "planned": []}
    status = check.wait(CHECK_TIMEOUT_S)
    if status is None:
        check.end()
    planned = [line[len(PLANNED) :] for line in check.output().splitlines() if line.startswith(PLANNED)]
    check.close()
    return {"done": status == 0 and (not resource.creates or os.path.lexists(resource.creates)), "planned": planned}


def _teller(resource: Any, host: Host) -> Callable[[Process], None]:
    """Return a function that reports the newest line of output; at once if the controller confirms the command."""
    waits = bool(getattr(resource, "confirmed_by", ()))

    def tell(process: Process) -> None:
        nonlocal waits
        line = process.last_line()
        if waits and line:
            waits = False
            host.events.emit("progress", id=resource.id, text=line, fraction=None)
        else:
            host.events.progress(resource.id, line)

    return tell


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the command if its check fails, in the check's words if it printed any.

    Raises Failure if the check knows that the command would fail, so that a plan fails as the run would.
    """
    refusal = next((words[len(REFUSED) :] for words in fact["planned"] if words.startswith(REFUSED)), "")
    if refusal:
        raise Failure(refusal)
    return [] if fact["done"] else [("run", words) for words in fact["planned"] or ["run " + shown(resource.argv)]]


def apply(resource: Any, fact: Fact, changes: list[Change], host: Host) -> None:  # noqa: ARG001
    """Run the command; its check must pass afterwards. Raises RebootNeeded if the command asks for a reboot."""
    done = run(
        resource.argv,
        env=resource.env,
        user=resource.user,
        timeout_s=resource.timeout_s,
        gone=host.events.controller_gone,
        on_tick=_teller(resource, host),
    )
    lines = done.output.strip().splitlines()
    if resource.reboot_status and done.status == resource.reboot_status:
        raise RebootNeeded(lines[-1] if lines else "")
    reasons = [line[len(REASON) :] for line in lines if line.startswith(REASON)]
    done.must(reasons[-1] if reasons else "")
    changes.extend(("warn", line) for line in lines if line.startswith(WARNING))
    if resource.check:
        run(resource.check, env=resource.env, user=resource.user, timeout_s=CHECK_TIMEOUT_S).must(
            "ran, but its check still fails"
        )
    if resource.creates and not os.path.lexists(resource.creates):
        raise Failure(f"ran, but did not create {resource.creates}")
