"""A systemd unit's state: enabled, running, restarted after a change of a dependency, ready."""

from __future__ import annotations

import time

from ..deaths import Deaths
from ..events import Cut, Failure
from ..process import Process, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload", "CanReload", "Type", "Job",
    "Result", "NRestarts", "ExecMainStatus",
)  # fmt: skip
_NONE = dict.fromkeys(PROPERTIES, "")
"""Properties that timers, sockets and mounts may lack."""

POLL_S = 0.2
FIRST_POLL_S = 0.02
"""Before the first query of a unit; each later pause is twice as long, up to POLL_S. Most units start at once."""
SETTLE_S = 0.5
"""Without a `ready` command, how long a unit must stay active if its type is active at once."""
JOURNAL_LINES = 400
READY_LOOK_S = 20
TRIAL_POLL_S = 0.5


def show(units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return systemd's properties of all units, with one call."""
    return _read(units, _ask(units)) if units else {}


def _ask(units: Sequence[str]) -> Process:
    return Process(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *units], dies_with_agent=False)


def _read(units: Sequence[str], question: Process) -> dict[str, dict[str, str]]:
    question.wait(READY_LOOK_S)
    answer = question.output()
    question.close()
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in answer.split("\n\n")]
    if len(blocks) != len(units) or any("LoadState" not in block for block in blocks):
        raise Failure("systemctl does not answer", answer)
    return {unit: {**_NONE, **block} for unit, block in zip(units, blocks)}


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:
    """Query systemd once for all units, and run all `ready` commands at the same time.

    Does not wait for a unit that does not run, or that is restarted anyway.
    """
    units = [resource.name for resource in resources]
    question = _ask(units)
    tries = [_try_ready(resource) for resource in resources]

    def finish() -> list[Fact]:
        seen = _read(units, question)
        facts = [{**seen[resource.name], "due": host.state.due(resource.id)} for resource in resources]
        return [
            {**fact, "ready": _is_ready(each, READY_LOOK_S if _is_active(fact) and not fact["due"] else 0)}
            for fact, each in zip(facts, tries)
        ]

    return finish


def _try_ready(resource: Any) -> Process | None:
    try:
        return Process(resource.ready) if resource.ready else None
    except Failure:
        return None


def _is_active(fact: Fact) -> bool:
    return fact["ActiveState"] in ("active", "activating", "reloading")


def _is_ready(process: Process | None, wait_s: float) -> bool:
    if process is None:
        return False
    status = process.wait(wait_s)
    if status is None:
        process.end()
    process.close()
    return status == 0


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return the changes that the unit needs."""
    changes = []
    active = _is_active(fact)
    if fact["UnitFileState"] in ("masked", "masked-runtime"):
        changes.append(("unmask", "unmask"))
    unseen = fact["LoadState"] == "not-found" and (resource.enabled or resource.running)
    if fact["NeedDaemonReload"] == "yes" or unseen:
        changes.append(("daemon-reload", "read unit files again"))
    state = fact["UnitFileState"]
    if resource.enabled and state in ("disabled", "enabled-runtime", "linked", "masked", "masked-runtime", ""):
        changes.append(("enable", "enable"))
    if not resource.enabled and state in ("enabled", "enabled-runtime"):
        changes.append(("disable", "disable"))
    if resource.running is False:
        return [*changes, ("stop", "stop")] if active else changes
    if resource.running and not active:
        changes.append(("start", "start"))
    elif active and fact["due"] == "restart":
        changes.append(("restart", "restart: a dependency changed"))
    elif active and fact["due"] == "reload":
        changes.append(("reload", "reload: a dependency changed"))
    elif active and resource.ready and not fact["ready"]:
        changes.append(("wait", "wait until it is ready"))
    elif fact["ActiveState"] == "activating" and not resource.ready:
        changes.append(("wait", "wait until it has started"))
    return changes


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:
    """Make the changes, and wait until systemd and the `ready` command report success."""
    verbs = [verb for verb, _ in changes]
    if "unmask" in verbs:
        run(["systemctl", "unmask", resource.name]).must()
        run(["systemctl", "unmask", "--runtime", resource.name]).must()
    if "daemon-reload" in verbs and not {"enable", "disable"} & set(verbs):  # those reload systemd too
        run(["systemctl", "daemon-reload"]).must()
    for verb in ("disable", "enable"):
        if verb in verbs:
            run(["systemctl", verb, resource.name]).must()
    job = next((verb for verb in ("start", "restart", "reload", "stop") if verb in verbs), "")
    if job == "reload" and fact["CanReload"] != "yes":
        job = "restart"
    transition = _Transition(resource, host, job)
    try:
        if job or "wait" in verbs:
            transition.follow()
        host.state.set_due({resource.id: ""})
        if resource.ready and (job in ("start", "restart", "reload") or "wait" in verbs):
            transition.wait_ready()
    except Failure as failure:
        said = _undo(resource, host) if resource.undo else ""
        raise Failure(f"{failure.what}; {said}" if said else failure.what, failure.detail) from failure


def _undo(resource: Any, host: Host) -> str:
    """Run `undo` for a unit that did not start; return its output. No restart is due then."""
    done = run(
        resource.undo, must_finish=True, on_tick=lambda _: host.events.progress(resource.id, "undoing the change")
    )
    if done.status == 0:
        host.state.set_due({resource.id: ""})
    return (done.output.strip().splitlines() or [""])[-1]


class _Transition:
    """One start, stop, restart, reload or wait, watched to its end."""

    def __init__(self, resource: Any, host: Host, job: str) -> None:
        self._resource = resource
        self._host = host
        self._job = job
        self._began = time.time()
        self._clock = time.monotonic()
        self._deaths = Deaths(resource.passing, resource.left_out)
        self._poll_s = FIRST_POLL_S
        self._end = ""
        """How its process last ended. systemd forgets that when it starts the next process."""

    def follow(self) -> None:
        """Start the systemd job and follow it to its end."""
        if self._job in ("start", "restart"):
            run(["systemctl", "reset-failed", self._resource.name])  # also forgets a start limit that was reached
        self._begin_count()
        if self._job:
            done = run(["systemctl", "--no-block", self._job, "--", self._resource.name])
            if done.status != 0:
                raise Failure(done.output.strip() or f"systemctl {self._job} failed")
        self._watch()

    def _watch(self) -> None:
        """Look until the job is over. The time of a stop does not count, because systemd limits it."""
        settled_since = None
        while True:
            self._pause()
            seen = self._look()
            if seen["ActiveState"] == "deactivating":
                self._clock = time.monotonic()
            self._fail_if_broken(seen)
            if seen["Job"] or seen["ActiveState"] in ("activating", "deactivating", "reloading"):
                settled_since = None
                self._fail_if_late(f"{seen['ActiveState']} ({seen['SubState']})")
                continue
            if self._job == "stop":
                return
            if seen["ActiveState"] != "active" and seen["Type"] != "oneshot":
                raise self._failure(f"is {seen['ActiveState']} after its start")
            settled_since = settled_since or time.monotonic()
            at_once = seen["Type"] in ("simple", "exec", "idle") and self._job in ("start", "restart")
            if not at_once or self._resource.ready or time.monotonic() - settled_since >= SETTLE_S:
                return

    def wait_ready(self) -> None:
        """Run the `ready` command until it exits 0; give up at once if the unit keeps dying."""
        state = "not ready"
        while True:
            trial = Process(self._resource.ready)
            try:
                status = trial.wait(0)
                while status is None:
                    self._fail_if_broken(self._look())
                    self._fail_if_late(state)
                    if self._host.events.controller_gone():
                        raise Cut()
                    status = trial.wait(TRIAL_POLL_S)
                state = f"not ready: {trial.last_line()}".rstrip(": ")
            finally:
                trial.end()
                trial.close()
            if status == 0:
                return
            self._fail_if_broken(self._look())
            self._fail_if_late(state)
            self._pause()

    def _pause(self) -> None:
        if self._host.events.controller_gone():
            raise Cut()
        time.sleep(self._poll_s)
        self._poll_s = min(2 * self._poll_s, POLL_S)

    def _look(self) -> dict[str, str]:
        seen = show([self._resource.name])[self._resource.name]
        if seen["Result"] not in ("", "success"):
            self._end = f" (result {seen['Result']}, exit status {seen['ExecMainStatus']})"
        also = ": the program runs, but is not ready yet" if seen["SubState"] == "start-post" else ""
        self._host.events.progress(self._resource.id, f"{seen['ActiveState']} ({seen['SubState']}){also}")
        return seen

    def _fail_if_broken(self, seen: dict[str, str]) -> None:
        if seen["LoadState"] not in ("loaded", "masked"):
            raise Failure(f"systemd cannot load it: {seen['LoadState']}")
        if self._job == "stop":
            return
        if self._deaths.look(_number(seen["NRestarts"]), self._journal):
            # The next start gets as much time as the first, and systemd's start limit counts from it.
            self._clock = time.monotonic()
            run(["systemctl", "reset-failed", self._resource.name])
            self._begin_count()
        if seen["ActiveState"] == "failed" and not seen["Job"]:
            raise self._failure("failed")
        if self._deaths.are_too_many:
            raise self._failure(f"died {self._deaths.number} times after its start")

    def _begin_count(self) -> None:
        self._deaths.begin(_number(show([self._resource.name])[self._resource.name]["NRestarts"]))

    def _fail_if_late(self, state: str) -> None:
        if time.monotonic() - self._clock > self._resource.ready_timeout_s:
            raise self._failure(f"after {self._resource.ready_timeout_s} s it is still {state}")

    def _failure(self, what: str) -> Failure:
        return Failure(what + self._end, self._journal())

    def _journal(self) -> str:
        """Return the unit's journal since the job began."""
        since = f"--since=@{int(self._began)}"
        options = ["-q", "--no-pager", "-o", "cat", "-n", str(JOURNAL_LINES)]
        return run(["journalctl", *options, "-u", self._resource.name, since]).output


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
