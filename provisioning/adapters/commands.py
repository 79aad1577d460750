"""The commands of `make adapters`: plan, apply, promote, rollback. No engine is restarted.

The part that runs on each host is in provisioning/programs/adapters/adapter_versions.py.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from core.console import next_command, say
from core.errors import DeployError, HostError, UsageError
from core.reading.rules import one_of
from core.runs import write_result
from infra.contract.outputs import HostRecord
from provisioning.adapters.checks import check_releases
from provisioning.adapters.hosts import AT_ONCE, AdapterStack, stack_of, who_asks
from provisioning.adapters.report import Running, Served
from provisioning.adapters.retire import Retired, retirement
from provisioning.apply.gateway_names import tell_gateway
from provisioning.hosts.installed_names import Names, all_names, installed_names
from provisioning.hosts.parallel import on_each
from provisioning.hosts.target import Target
from provisioning.ssh.host_output import read_json
from serving.adapters.manifest import Move, record, shown
from serving.endpoint import endpoint_file, read_endpoint, write_endpoint

MOVED = ("time", "who", "what", "adapter", "from", "to")


def plan(target: Target, retire: Sequence[str] = ()) -> int:
    """Print what `apply` would change on the hosts; return the exit status."""
    stack = _checked(target)
    for retired in retirement(stack, retire):
        say(retired.words)
    results = stack.converge(again=_command(target, "plan", retire), dry_run=True, retire=retire)
    if any(result.changed for result in results.values()):
        next_command(_command(target, "apply", retire))
    else:
        say("nothing to change")
    return 0


def apply(target: Target, retire: Sequence[str] = ()) -> int:
    """Bring all listed versions to the hosts and into their engines; return the exit status.

    Moves no name, and removes only those in `retire`.
    """
    began = time.monotonic()
    stack = _checked(target)
    retired = _apply(stack, _command(target, "apply", retire), retire)
    moved = "no name was moved"
    if retired:
        moved = f"{', '.join(each.name for each in retired)} retired, no other name was moved"
    say(f"✓ adapters of {stack.name}: {time.monotonic() - began:.1f} s; {moved}")
    next_command(target.command("adapters", "DO=promote", "ARGS=NAME@VERSION"), target.command("adapters"))
    return 0


def promote(target: Target, name: str) -> int:
    """Make a name alone mean version `name`, e.g. contract@4, once that version has answered on every host."""
    stack = _checked(target)
    version = stack.version(name)
    running, adapter = _running(stack, of=version), version.rpartition("@")[0]
    if any(version not in served.versions for served in running.values()):
        _apply(stack, target.command("adapters", "DO=promote", f"ARGS={name}"))
    prompt = stack.releases.listed(version).prompt
    base = stack.serving_of(stack.hosts_of(version)[0]).model.name
    words = (version, base, *((prompt,) if prompt else ()))
    stack.on_all(lambda host: stack.ask(host, "try", *words), of=version)
    say(f"{version} answers, and differently from {base}")
    return _move(stack, version, "promote", {name: served.aliases.get(adapter) for name, served in running.items()})


def rollback(target: Target, adapter: str, to: str) -> int:
    """Make `adapter` alone mean version `to`, or its version before the last promote that was not rolled back yet."""
    stack = stack_of(target)
    known = list(stack.releases.promoted)
    if adapter not in known:
        raise UsageError(
            f"no adapter is called {adapter}", where=shown(stack.releases.path), hint=one_of(known, adapter)
        )
    version = to or stack.releases.before(adapter)
    if not version:
        hint = f"name one: --to {adapter}@VERSION"
        raise UsageError(f"{adapter} had no version before this one", where=shown(stack.releases.lock), hint=hint)
    if version.rpartition("@")[0] != adapter:
        raise UsageError(f"{version} is not a version of {adapter}", where="--to", hint=f"write {adapter}@VERSION")
    return _move(stack, stack.version(version), "rollback", {})


def _checked(target: Target) -> AdapterStack:
    """Return the stack with checked adapters. Raises ConfigError for one that does not fit; connects to no host."""
    stack = stack_of(target)
    for serving in map(stack.serving_of, stack.hosts_of_pools):
        if serving.adapters:
            check_releases(stack.releases, serving)
    return stack


def _command(target: Target, task: str, retire: Sequence[str]) -> str:
    """Return the command that a person types to plan or apply."""
    flags = " ".join(f"--retire {name}" for name in retire)
    return target.command("adapters", f"DO={task}", *((f'ARGS="{flags}"',) if flags else ()))


def _apply(stack: AdapterStack, again: str, retire: Sequence[str] = ()) -> list[Retired]:
    """Install the versions and return the retired names. Raises HostError if an engine does not serve all of them.

    `again`: the command that the person ran.
    """
    retired = retirement(stack, retire)
    if retired:
        tell_gateway(stack.outputs, _without(stack, retire))  # first, so that it asks no host for a name that goes
    stack.converge(again=again, dry_run=False, retire=retire)
    for each in retired:
        _record_retired(stack, each)
    every = {host.name: stack.serving_of(host).adapters for host in stack.hosts}
    for host, served in _running(stack).items():
        listed = {adapter.versioned_name for adapter in every[host]}
        for name, refused in served.refused.items() if isinstance(served, Running) else ():
            if name in listed:
                hint = "list other files as a new version"
                raise HostError(f"the engine refuses {name}: {refused['problem']}", where=host, hint=hint)
        if not listed <= set(served.versions):
            hint = f"run {stack.target.command('provision')}, which starts it with them"
            what = "its engine is down, or was started without adapters or with other settings"
            raise HostError(what, where=host, hint=hint)
    tell_gateway(stack.outputs, all_names(stack.outputs))
    if endpoint_file(stack.name).exists():
        hint = f"run `{stack.target.command('provision')}`, which writes it"
        endpoint = read_endpoint(endpoint_file(stack.name), hint=hint)
        write_endpoint(endpoint.with_names(stack.outputs.servings))
    return retired


def _without(stack: AdapterStack, retired: Sequence[str]) -> dict[str, Names]:
    """Return the names that each host behind a gateway has, without the retired ones and their versions."""
    return {
        host: tuple(name for name in names if name.partition("@")[0] not in retired)
        for host, names in installed_names(stack.outputs).items()
    }


def _record_retired(stack: AdapterStack, retired: Retired) -> None:
    """Record that a name is retired, unless the record has it already."""
    if not retired.version:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entry = {"time": now, "who": who_asks(), "what": "retire", "adapter": retired.name, "from": retired.version}
    record(stack.releases.lock, Move.model_validate({**entry, "to": "", "hosts": retired.hosts}))


def _running(stack: AdapterStack, of: str = "") -> dict[str, Served]:
    """Return versions and aliases that the engines serve, by host; `of` leaves hosts of other adapters' pools out."""
    return {name: report.answering for name, report in stack.on_all(stack.report, of).items()}


def _move(stack: AdapterStack, version: str, what: str, means: Mapping[str, str | None]) -> int:
    """Move the name on all hosts or on none, and record it.

    `means` has the version that the name means on each host; for the other hosts the record's version counts.
    """
    recorded = stack.releases.promoted[version.rpartition("@")[0]]
    before = {host.name: means.get(host.name) or recorded for host in stack.hosts_of(version)}
    done = _on_all_or_none(stack, version, what, before)
    _record(stack, version, done)
    write_result(stack.name, "adapters.json", {"stack": stack.name, "ok": True, "moves": done})
    first, seconds = next(iter(done.values())), max(each["seconds"] for each in done.values())
    was = "already" if first["from"] == version else f"and was {first['from'] or 'nothing'}; moved in {seconds:.3f} s"
    say(f"✓ {first['adapter']} is {version}, {was}")
    next_command(stack.target.command("adapters"), f"commit {shown(stack.releases.lock)}")
    return 0


def _record(stack: AdapterStack, version: str, done: Mapping[str, dict[str, Any]]) -> None:
    """Record the move unless the record has it; print a note if the hosts had another version than the record."""
    first = next(iter(done.values()))
    recorded = stack.releases.promoted[first["adapter"]]
    entry = next((each for each in done.values() if each["from"] != version), None)
    if entry is None and recorded == version:
        return
    if entry is None:  # an interrupted command moved the hosts before it could record the move
        entry = {**first, "from": recorded}
    last = stack.releases.last_move(entry["adapter"])
    if last is not None and last.to != entry["from"]:
        lock = shown(stack.releases.lock)
        say(f"note: the hosts had {entry['from']}, {lock} has another version: somebody else moved it")
    record(
        stack.releases.lock, Move.model_validate({**{key: entry[key] for key in MOVED}, "hosts": tuple(sorted(done))})
    )


def _on_all_or_none(
    stack: AdapterStack, version: str, what: str, before: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Move the name on all hosts and return each host's answer. If one fails, or at Ctrl-C, undo it on the others."""
    who, adapter = who_asks(), version.rpartition("@")[0]
    done: dict[str, dict[str, Any]] = {}
    stopped = threading.Event()
    hosts = stack.hosts_of(version)
    turns = {host.name: threading.Lock() for host in hosts}

    def move(host: HostRecord) -> None:
        with turns[host.name]:
            if stopped.is_set():
                raise HostError("was not moved", where=host.name)
            done[host.name] = read_json(stack.ask(host, "move", version, who, what), where=host.name)

    def move_back(host: HostRecord) -> None:
        with turns[host.name]:  # a move in progress ends first: Ctrl-C does not stop its thread
            was = done.get(host.name, {}).get("from") or before[host.name]
            if was != version and version in stack.report(host).meanings(adapter):
                stack.ask(host, "move", was, who, "rollback")
                say(f"{host.name}: moved back to {was}, because not all hosts moved")

    try:
        stack.on_all(move, of=version)
    except BaseException:
        stopped.set()
        for host, result in on_each(hosts, move_back, at_once=AT_ONCE):
            if isinstance(result, DeployError):
                say(f"{host.name}: {result.what}; {adapter} may mean {version} there")
        raise
    return done
