"""All hosts brought to what their roles wish for, or a plan of it; what came of it is told and written down.

Does not look at a host itself (provisioning/converge does), does not say what is wished for (provisioning/wishes.py).
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from core.console import next_command, say
from core.errors import DeployError
from core.runs import write_result
from infra.outputs import HostRecord, StackOutputs
from provisioning.converge.result import HostResult, Outcome
from provisioning.fleet import on_each, raise_failures
from provisioning.inventory import choose, load
from provisioning.narration import Narrator, counts, error_line, failure_detail, plan_text
from provisioning.reboots import bring
from provisioning.roles.layout import ENGINE_UNIT
from provisioning.target import Target

if TYPE_CHECKING:
    from provisioning.wishes import Wishes

ENGINE_UNIT_IDS = tuple(f"unit:{name}" for name in ENGINE_UNIT.values())

Results = dict[str, HostResult | DeployError]


def provision(target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int) -> int:
    """Bring the hosts to what their roles wish for; return the exit status."""
    began = time.monotonic()
    outputs = load(target)
    hosts = choose(outputs, names)
    run = _Run(outputs, hosts, roles, at_once, dry_run=False)
    try:
        run.follow()
    finally:
        report = _as_json(outputs.stack, hosts, roles, run.results, time.monotonic() - began)
        path = write_result(outputs.stack, "provision.json", report)
    _raise(
        run.results, hint=f"mend it and run `{target.command('provision')}` again; `{target.command('logs')}` has more"
    )
    if run.wishes.endpoint is not None:
        from serving.endpoint import write_endpoint

        write_endpoint(run.wishes.endpoint)
        if len(hosts) == len(outputs.hosts):
            from provisioning.credentials import drop_other_keys

            drop_other_keys(outputs.stack, outputs.gateway.clients)
    say(f"✓ provision {outputs.stack}: {time.monotonic() - began:.1f} s; {path}")
    next_command(target.command("smoke"), target.command("status"))
    return 0


def plan(target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int) -> int:
    """Print what `provision` would change, with diffs, on stdout; return the exit status. Changes nothing."""
    began = time.monotonic()
    outputs = load(target)
    hosts = choose(outputs, names)
    run = _Run(outputs, hosts, roles, at_once, dry_run=True)
    try:
        run.follow()
    finally:
        report = _as_json(outputs.stack, hosts, roles, run.results, time.monotonic() - began)
        write_result(outputs.stack, "plan.json", report)
    _raise(run.results, hint=f"mend it and run `{target.command('plan')}` again")
    if any(isinstance(result, HostResult) and result.changed for result in run.results.values()):
        next_command(target.command("provision"))
    else:
        say("nothing to change")
        next_command(target.command("smoke"), target.command("status"))
    return 0


class _Run:
    """One run over the hosts: begun when it is made, told while it is followed.

    The hosts are connected to while the lists are made. `results` fills as they end, so that Ctrl-C leaves what is
    known. Raises ConfigError for files that the config names and that cannot work; no host has been touched then.
    """

    def __init__(
        self, outputs: StackOutputs, hosts: Sequence[HostRecord], roles: Sequence[str], at_once: int, *, dry_run: bool
    ) -> None:
        self.results: Results = {}
        self._hosts = hosts
        self._dry_run = dry_run
        self._narrator = Narrator([host.name for host in hosts])
        self._lists: Future[Wishes] = Future()
        self._ends: Iterator[tuple[HostRecord, HostResult | DeployError]] = on_each(hosts, self._work, at_once=at_once)
        from provisioning import wishes  # the roles' templates and certificates, while the hosts answer

        try:
            self.wishes = wishes.wishes_for(outputs, hosts, roles)
        except BaseException as error:
            self._lists.set_exception(error)
            raise
        self._lists.set_result(self.wishes)

    def follow(self) -> None:
        """Tell what happens until the last host has ended."""
        with self._narrator as narrator:
            for host, result in self._ends:
                self.results[host.name] = result
                if isinstance(result, HostResult):
                    self._tell(result)
                elif len(self._hosts) > 1:  # the only host's error is the command's own
                    narrator.say(host.name, error_line(result))

    def _work(self, host: HostRecord) -> HostResult:
        on_event = self._narrator.progress_only if self._dry_run else self._narrator.event
        resources = lambda: self._lists.result().lists[host.name]  # noqa: E731
        return bring(host, resources, dry_run=self._dry_run, on_event=on_event)

    def _tell(self, result: HostResult) -> None:
        if self._dry_run:
            self._narrator.aside(plan_text(result))
        for outcome in result.failed:
            self._narrator.say(result.host, why(outcome))
        self._narrator.say(result.host, counts(result, would=self._dry_run))


def why(outcome: Outcome) -> str:
    """Return why a resource failed, to be read below its line: for an engine the cause, not the end of its journal."""
    if outcome.id in ENGINE_UNIT_IDS:
        from provisioning.diagnosis import diagnose

        diagnosis = diagnose(outcome.detail)
        if diagnosis.cause:
            return f"    cause: {diagnosis.cause}" + (f"\n    help: {diagnosis.hint}" if diagnosis.hint else "")
    return failure_detail(outcome)


def _raise(results: Results, *, hint: str) -> None:
    """Raise what went wrong on the hosts as one error."""
    failed = {name: result for name, result in results.items() if isinstance(result, DeployError) or not result.ok}
    errors = {name: result if isinstance(result, DeployError) else None for name, result in failed.items()}
    raise_failures(errors, len(results), hint=hint)


def _as_json(
    stack: str, hosts: Sequence[HostRecord], roles: Sequence[str], results: Results, seconds: float
) -> dict[str, Any]:
    """Return provision.json or plan.json: a host without a result was cut off before its end."""
    entries = [_host_json(host.name, results.get(host.name)) for host in hosts]
    return {
        "stack": stack,
        "ok": all(entry["ok"] for entry in entries),
        "roles": list(roles),
        "seconds": round(seconds, 3),
        "hosts": entries,
    }


def _host_json(name: str, result: HostResult | DeployError | None) -> dict[str, Any]:
    """Return one host's part of provision.json."""
    if isinstance(result, HostResult):
        return result.as_json()
    return {"host": name, "ok": False, "error": str(result) if result else "interrupted"}
