"""Roles joined to one list of wishes per host, sent to all hosts, and what came of it told and written down.

Does not look at a host itself (provisioning/converge does), and makes no machine.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from core.console import next_command, say
from core.errors import DeployError, HostError
from core.runs import write_result
from infra.outputs import HostRecord, StackOutputs
from provisioning.converge.controller import converge
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult
from provisioning.fleet import on_each
from provisioning.inventory import Target, choose, load
from provisioning.narration import Narrator, counts, failure_detail, plan_text
from provisioning.roles.base import base

ROLES = ("base", "engine", "gateway")
"""In the order of the list: the gateway comes last, so that it opens to clients when the engine answers."""

Results = dict[str, HostResult | DeployError]


def provision(target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int) -> int:
    """Bring the hosts to what their roles wish for; return the exit status."""
    outputs = load(target)
    hosts = choose(outputs, names)
    say(f"→ provision {outputs.stack} ({', '.join(roles)}): {_named(hosts)}")
    began = time.monotonic()
    results: Results = {}
    try:
        _run(outputs, hosts, roles, at_once, results, dry_run=False)
    finally:
        report = _as_json(outputs.stack, hosts, roles, results, time.monotonic() - began)
        path = write_result(outputs.stack, "provision.json", report)
    _raise_failures(results, hint=f"mend it and run `{target.command('provision')}` again")
    say(f"✓ provision {outputs.stack}: {time.monotonic() - began:.1f} s; {path}")
    next_command(target.command("smoke"), target.command("status"))
    return 0


def plan(target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int) -> int:
    """Print what `provision` would change, with diffs, on stdout; return the exit status. Changes nothing."""
    outputs = load(target)
    hosts = choose(outputs, names)
    say(f"→ plan {outputs.stack} ({', '.join(roles)}): {_named(hosts)}")
    results: Results = {}
    _run(outputs, hosts, roles, at_once, results, dry_run=True)
    _raise_failures(results, hint=f"mend it and run `{target.command('plan')}` again")
    if any(isinstance(result, HostResult) and result.changed for result in results.values()):
        next_command(target.command("provision"))
    else:
        say("nothing to change")
        next_command(target.command("smoke"), target.command("status"))
    return 0


def wishes(outputs: StackOutputs, host: HostRecord, roles: Sequence[str]) -> list[Resource]:
    """Return what `roles` wish for on `host`, in the order of ROLES."""
    found: list[Resource] = []
    if "base" in roles:
        found += base(host, outputs.gateway)
    return found


def _run(
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    roles: Sequence[str],
    at_once: int,
    results: Results,
    *,
    dry_run: bool,
) -> None:
    """Send each host its wishes and fill `results` as they come, so that Ctrl-C leaves what is known."""
    narrator = Narrator([host.name for host in hosts])

    def work(host: HostRecord) -> HostResult:
        on_event = narrator.progress_only if dry_run else narrator.event
        return converge(host, wishes(outputs, host, roles), dry_run=dry_run, on_event=on_event)

    for host, result in on_each(hosts, work, at_once=at_once):
        results[host.name] = result
        if isinstance(result, DeployError):
            if len(hosts) > 1:  # the only host's error is the command's
                narrator.say(host.name, f"✗ {result}")
            continue
        if dry_run:
            narrator.aside(plan_text(result))
        for outcome in result.failed:
            narrator.say(host.name, failure_detail(outcome))
        narrator.say(host.name, counts(result, would=dry_run))


def _raise_failures(results: Mapping[str, HostResult | DeployError], *, hint: str) -> None:
    """Raise what went wrong on the hosts as one error: the error itself when there was only that host."""
    failed = [name for name, result in results.items() if isinstance(result, DeployError) or not result.ok]
    if not failed:
        return
    first = results[failed[0]]
    if len(results) == 1 and isinstance(first, DeployError):
        raise first
    raise HostError(f"{len(failed)} of {len(results)} hosts failed: {', '.join(failed)}", hint=hint)


def _as_json(
    stack: str, hosts: Sequence[HostRecord], roles: Sequence[str], results: Results, seconds: float
) -> dict[str, Any]:
    """Return provision.json: a host without a result was cut off before its end."""
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


def _named(hosts: Sequence[HostRecord]) -> str:
    """Return the hosts in words."""
    return ", ".join(host.name for host in hosts) if len(hosts) < 4 else f"{len(hosts)} hosts"  # noqa: PLR2004
