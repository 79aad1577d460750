"""Roles joined to one list of wishes per host, sent to all hosts, and what came of it told and written down.

Does not look at a host itself (provisioning/converge does), and makes no machine.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.console import next_command, say
from core.errors import ConfigError, DeployError
from core.runs import write_result
from infra.outputs import HostRecord, StackOutputs
from provisioning.converge.controller import converge
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult, Outcome
from provisioning.credentials import Credentials, credentials_for, keys_file
from provisioning.diagnosis import diagnose
from provisioning.fleet import on_each, raise_failures
from provisioning.inventory import choose, load
from provisioning.narration import Narrator, counts, error_line, failure_detail, plan_text
from provisioning.roles.base import base
from provisioning.roles.gateway import gateway
from provisioning.roles.layout import ENGINE_UNIT
from provisioning.roles.vllm import vllm
from provisioning.target import Target
from serving.endpoint import Endpoint, endpoint_of, write_endpoint
from serving.sources import resolve_sources

ROLES = ("base", "engine", "gateway")
"""In the order of the list: the gateway comes last, so that it opens to clients when the engine answers."""

ENGINE_UNIT_IDS = tuple(f"unit:{name}" for name in ENGINE_UNIT.values())

Results = dict[str, HostResult | DeployError]


def provision(target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int) -> int:
    """Bring the hosts to what their roles wish for; return the exit status."""
    began = time.monotonic()
    outputs = load(target)
    hosts = choose(outputs, names)
    wishes = wishes_for(outputs, hosts, roles)
    results: Results = {}
    try:
        _run(hosts, wishes, at_once, results, dry_run=False)
    finally:
        report = _as_json(outputs.stack, hosts, roles, results, time.monotonic() - began)
        path = write_result(outputs.stack, "provision.json", report)
    _raise(results, hint=f"mend it and run `{target.command('provision')}` again; `{target.command('logs')}` has more")
    if wishes.endpoint is not None:
        write_endpoint(wishes.endpoint)
    say(f"✓ provision {outputs.stack}: {time.monotonic() - began:.1f} s; {path}")
    next_command(target.smoke_command(outputs.stack), target.command("status"))
    return 0


def plan(target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int) -> int:
    """Print what `provision` would change, with diffs, on stdout; return the exit status. Changes nothing."""
    outputs = load(target)
    hosts = choose(outputs, names)
    results: Results = {}
    _run(hosts, wishes_for(outputs, hosts, roles), at_once, results, dry_run=True)
    _raise(results, hint=f"mend it and run `{target.command('plan')}` again")
    if any(isinstance(result, HostResult) and result.changed for result in results.values()):
        next_command(target.command("provision"))
    else:
        say("nothing to change")
        next_command(target.smoke_command(outputs.stack), target.command("status"))
    return 0


@dataclass(frozen=True)
class Wishes:
    """What is wished for, and where clients find it then."""

    lists: Mapping[str, Sequence[Resource]]
    """By the host's name."""
    endpoint: Endpoint | None
    """None when the gateway is not among the roles."""


def wishes_for(outputs: StackOutputs, hosts: Sequence[HostRecord], roles: Sequence[str]) -> Wishes:
    """Return what `roles` wish for on `hosts`, in the order of ROLES.

    Raises ConfigError for files that the config names and that cannot work, before any host is reached.
    """
    serving = outputs.serving
    if "engine" in roles and serving.engine != "vllm":
        hint = "write engine: vllm, or leave the role out with --roles base,gateway"
        raise ConfigError(f"engine {serving.engine} cannot be installed yet", where="serving.engine", hint=hint)
    sources = resolve_sources(serving) if "engine" in roles else None
    # Of all hosts, also those that are left out of this run: the endpoint is the stack's.
    credentials = (
        {host.name: credentials_for(outputs.stack, host, outputs.gateway) for host in outputs.hosts}
        if "gateway" in roles
        else {}
    )
    lists = {
        host.name: _joined(
            base(host, outputs.gateway) if "base" in roles else [],
            vllm(host, serving, sources) if sources is not None else [],
            gateway(host, serving, outputs.gateway, credentials[host.name]) if credentials else [],
        )
        for host in hosts
    }
    return Wishes(lists, _endpoint(outputs, list(credentials.values())) if credentials else None)


def _joined(*lists: Sequence[Resource]) -> list[Resource]:
    """Return the lists as one; what two roles wish for in the same words (the engine's key) stands in it once."""
    joined: list[Resource] = []
    for resource in itertools.chain(*lists):
        if resource not in joined:
            joined.append(resource)
    return joined


def _endpoint(outputs: StackOutputs, credentials: Sequence[Credentials]) -> Endpoint:
    """Return where clients find the stack: at the first name of each host's certificate."""
    return endpoint_of(
        outputs.stack,
        [each.names[0] for each in credentials],
        outputs.serving,
        outputs.gateway,
        ca=credentials[0].ca,
        keys_file=keys_file(outputs.stack),
    )


def _run(
    hosts: Sequence[HostRecord],
    wishes: Wishes,
    at_once: int,
    results: Results,
    *,
    dry_run: bool,
) -> None:
    """Send each host its list and fill `results` as they come, so that Ctrl-C leaves what is known."""
    narrator = Narrator([host.name for host in hosts])

    def work(host: HostRecord) -> HostResult:
        on_event = narrator.progress_only if dry_run else narrator.event
        return converge(host, wishes.lists[host.name], dry_run=dry_run, on_event=on_event)

    with narrator:
        for host, result in on_each(hosts, work, at_once=at_once):
            results[host.name] = result
            if isinstance(result, DeployError):
                if len(hosts) > 1:  # the only host's error is the command's own
                    narrator.say(host.name, error_line(result))
                continue
            if dry_run:
                narrator.aside(plan_text(result))
            for outcome in result.failed:
                narrator.say(host.name, why(outcome))
            narrator.say(host.name, counts(result, would=dry_run))


def why(outcome: Outcome) -> str:
    """Return why a resource failed, to be read below its line: for an engine the cause, not the end of its journal."""
    if outcome.id in ENGINE_UNIT_IDS:
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
