"""Which adapter versions a stack lists and its hosts serve, the moves of names, and unused folders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from core.console import next_command, say, show
from infra.contract.outputs import HostRecord
from provisioning.adapters.hosts import AdapterHosts
from provisioning.adapters.report import AdapterReport, Folder
from provisioning.hosts.inventory import adapter_manifest, load
from provisioning.hosts.target import Target
from provisioning.roles.engine.store import model_path
from provisioning.ssh.host_output import read_json
from serving.adapters.manifest import read_releases
from serving.sources.resolve import resolve_sources
from serving.spec.fields import Source

GIB = 1024**3


@dataclass(frozen=True)
class Row:
    """One version."""

    name: str
    means_name: tuple[str, ...]
    """Hosts on which the name alone means this version."""
    served_by: tuple[str, ...]
    """Hosts whose engine serves it."""
    source: str
    since: str
    """When the name moved to this version, and who moved it; empty if it never did."""


def adapters_list(target: Target, *, as_json: bool) -> int:
    """Print versions, names, history and unused folders; return 0 if all hosts serve all listed versions.

    Raises HostError if a host failed, after it has printed what the others have.
    """
    stack = AdapterHosts(target, load(target))
    seen, failures = stack.on_those_that_answer(lambda host: (stack.report(host), _unused(stack, host)))
    if not seen:
        failures.raise_any(hint=f"see `{target.command('status')}`")
    reports = {name: report for name, (report, _) in seen.items()}
    unused = {name: folders for name, (_, folders) in seen.items()}
    rows = _rows(stack, reports)
    if as_json:
        said = {name: asdict(report) for name, report in reports.items()}
        folders = {name: [asdict(folder) for folder in each] for name, each in unused.items()}
        print(json.dumps({"adapters": [asdict(row) for row in rows], "hosts": said, "unused": folders}, indent=2))
    else:
        show("\n".join(_table(target, rows, unused)))
    failures.raise_any(hint=f"the list above lacks what failed; see `{target.command('status')}`")
    complete = all(set(row.served_by) == {host.name for host in stack.hosts_of(row.name)} for row in rows)
    next_command(target.command("smoke" if complete else "provision"))
    return 0 if complete else 1


def prune(target: Target) -> int:
    """Remove the folders of models and adapters that are neither listed nor in use; return the exit status."""
    stack = AdapterHosts(target, load(target))

    def remove(host: HostRecord) -> list[str]:
        removed: list[str] = read_json(
            stack.run(host, "adapters/stored_folders", "prune", host.data_dir, json.dumps(_needed(stack, host))),
            where=host.name,
            shape=list,
        )
        return removed

    for host, removed in stack.on_all(remove).items():
        for path in removed:
            say(f"{host}: removed {path}")
        if not removed:
            say(f"{host}: nothing to remove")
    next_command(target.command("adapters"))
    return 0


def _rows(stack: AdapterHosts, reports: Mapping[str, AdapterReport]) -> list[Row]:
    releases = read_releases(adapter_manifest(stack.target, stack.name))
    moves = {move.to: f"{move.time} by {move.who}" for move in (releases.moves if releases else ())}
    running = {host: report.answering for host, report in reports.items()}
    return [
        Row(
            name=listed.versioned_name,
            means_name=tuple(
                host for host, served in running.items() if served.aliases.get(listed.name) == listed.versioned_name
            ),
            served_by=tuple(host for host, served in running.items() if listed.versioned_name in served.versions),
            source=_place(listed.source),
            since=moves.get(listed.versioned_name, ""),
        )
        for host in stack.hosts_of_pools
        for listed in stack.serving_of(host).adapters
    ]


def _place(source: Source) -> str:
    """Return where the files come from, in one word."""
    match source.kind:
        case "hub":
            return f"{source.repo}@{source.revision[:12]}"
        case "folder":
            return str(source.path)
        case "tiny":
            return f"tiny {source.name} {source.adapter}"
        case _:
            return source.url


def _needed(stack: AdapterHosts, host: HostRecord) -> list[str]:
    """Return the folders that the present spec needs on `host`."""
    serving = stack.serving_of(host)
    sources = resolve_sources(serving)
    adapters = [f"{host.data_dir}/adapters/{adapter.versioned_name}" for adapter in serving.adapters]
    return [model_path(host, serving, sources.model), *adapters]


def _unused(stack: AdapterHosts, host: HostRecord) -> list[Folder]:
    needed = _needed(stack, host)
    return [folder for folder in stack.folders(host) if folder.path not in needed and not folder.in_use]


def _table(target: Target, rows: Sequence[Row], unused: Mapping[str, Sequence[Folder]]) -> list[str]:
    """Return the lines to print."""
    width = max((len(row.name) for row in rows), default=0)
    lines = []
    for row in rows:
        state = "not served" if not row.served_by else f"served by {', '.join(row.served_by)}"
        where = "" if row.means_name == row.served_by else f" on {', '.join(row.means_name)}"
        named = f"; {row.name.rpartition('@')[0]} means it{where}" if row.means_name else ""
        since = f" since {row.since}" if row.means_name and row.since else ""
        lines.append(f"{row.name:<{width}}  {state}{named}{since}  ({row.source})")
    for host, folders in unused.items():
        lines += [f"{host}: unused {each.path} ({each.bytes / GIB:.2f} GiB)" for each in folders]
    if any(unused.values()):
        lines.append(f"`{target.command('adapters', 'DO=prune')}` removes unused folders")
    return lines
