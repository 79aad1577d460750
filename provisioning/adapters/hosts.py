"""A stack's hosts and their adapters: query all hosts in parallel, or install all listed versions on them.

The commands are in provisioning/adapters/commands.py.
"""

import getpass
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from core.console import say
from core.errors import DeployError, HostError, UsageError
from core.reading.rules import one_of
from core.runs import write_result
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.adapters.report import AdapterReport, Folder
from provisioning.converge.result import HostResult
from provisioning.hosts.inventory import adapter_manifest, load
from provisioning.hosts.parallel import Failures, on_each, raise_failures
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from provisioning.ssh.connection import connect
from provisioning.ssh.host_output import read_json
from provisioning.ssh.remote import run_program
from provisioning.ssh.target import SshTarget
from serving.adapters.manifest import Releases, read_releases, shown
from serving.spec.models import ServingSpec

AT_ONCE = 8

Result = TypeVar("Result")


@dataclass(frozen=True)
class AdapterHosts:
    """A stack and its hosts with an engine, with or without a manifest of adapters."""

    target: Target
    outputs: StackOutputs

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.outputs.stack

    @property
    def hosts(self) -> tuple[HostRecord, ...]:
        """The hosts with an engine: not the gateway's host of a tunnel."""
        return Topology(self.outputs).hosts_with(HostRole.ENGINE)

    def serving_of(self, host: HostRecord) -> ServingSpec:
        """Return what `host` serves, with the adapters of the manifest if there is one."""
        return self.outputs.serving_of(host)

    @property
    def hosts_of_pools(self) -> tuple[HostRecord, ...]:
        """One host of each pool: what it serves, the others of its pool serve too."""
        return tuple({host.pool: host for host in self.hosts}.values())

    def hosts_of(self, adapter: str) -> tuple[HostRecord, ...]:
        """Return the hosts of the pool that has the adapter with this name or versioned name."""

        def has_it(host: HostRecord) -> bool:
            return any(adapter in (each.name, each.versioned_name) for each in self.serving_of(host).adapters)

        return tuple(host for host in self.hosts if has_it(host))

    def ask(self, host: HostRecord, command: str, *words: str) -> str:
        """Return what the program adapter_versions prints. Raises HostError with the program's own words."""
        port = self.serving_of(host).port
        return self.run(host, "adapters/adapter_versions", command, host.data_dir, str(port), *words)

    def run(self, host: HostRecord, program: str, *words: str) -> str:
        """Return what programs/<program>.py prints on `host`. Raises HostError with the program's own words."""
        with connect(SshTarget.of(host)) as connection:
            try:
                return run_program(connection, SshTarget.of(host), program, *words)
            except HostError as error:
                said = error.detail.strip().splitlines()
                raise HostError(said[-1].removeprefix("error: "), where=host.name) if said else error from None

    def report(self, host: HostRecord) -> AdapterReport:
        """Return the adapters that `host` has and serves."""
        return AdapterReport.read(read_json(self.ask(host, "show"), where=host.name))

    def folders(self, host: HostRecord) -> list[Folder]:
        """Return the folders of models and adapters on `host`."""
        said = read_json(self.run(host, "adapters/stored_folders", "show", host.data_dir), where=host.name, shape=list)
        return [Folder(**each) for each in said]

    def on_all(self, work: Callable[[HostRecord], Result], of: str = "") -> dict[str, Result]:
        """Return the result of `work` for each host by name, or for each that has the adapter `of`.

        Raises HostError after all have ended, if one failed.
        """
        results, failures = self.on_those_that_answer(work, of)
        failures.raise_any(hint=f"see `{self.target.command('status')}`")
        return results

    def on_those_that_answer(
        self, work: Callable[[HostRecord], Result], of: str = ""
    ) -> tuple[dict[str, Result], Failures]:
        """Return the same of the hosts that did not fail, and which failed."""
        hosts = self.hosts_of(of) if of else self.hosts
        failures = Failures(hosts, lambda _, error: say(str(error)))
        ends = on_each(hosts, work, at_once=AT_ONCE)
        found = {host.name: result for host, result in failures.sift(ends)}
        # Not in the order in which they ended.
        return {host.name: found[host.name] for host in hosts if host.name in found}, failures


@dataclass(frozen=True)
class AdapterStack(AdapterHosts):
    """A stack whose adapters a manifest lists."""

    releases: Releases

    def version(self, name: str) -> str:
        """Return the versioned name that is listed as `name`. Raises UsageError for another."""
        known = [each.versioned_name for each in self.releases.manifest.adapters]
        if name not in known:
            raise UsageError(f"{name} is not listed", where=shown(self.releases.path), hint=one_of(known, name))
        return name

    def converge(self, *, again: str, dry_run: bool, retire: Sequence[str] = ()) -> dict[str, HostResult]:
        """Bring all listed versions to the hosts and into their engines, or print what that would change.

        The names in `retire` are no longer served; the manifest must list all other names. `again`: the command that
        the person ran, for the error if it fails.
        """
        # Imported here: moving a name, which must be fast, does not need them.
        from provisioning.access.cloud_login import with_logins
        from provisioning.cli.progress import ProgressPrinter, counts, failure_detail, plan_text
        from provisioning.converge.controller import converge
        from provisioning.roles.engine.adapters import adapters_alone
        from serving.sources.resolve import resolve_sources

        sources = {host.pool: with_logins(resolve_sources(self.serving_of(host))) for host in self.hosts_of_pools}
        progress = ProgressPrinter([host.name for host in self.hosts])
        on_event = progress.progress_only if dry_run else progress.event
        retired = dict.fromkeys(retire, who_asks())

        def work(host: HostRecord) -> HostResult:
            resources = adapters_alone(host, self.serving_of(host), sources[host.pool], retired)
            result = converge(host, resources, dry_run=dry_run, on_event=on_event)
            if dry_run:
                progress.aside(plan_text(result))
            for outcome in result.failed:
                progress.say(host.name, failure_detail(outcome))
            progress.say(host.name, counts(result, would=dry_run))
            return result

        with progress:
            results = self.on_all(work)
        entries = [result.as_json() for result in results.values()]
        ok = all(result.ok for result in results.values())
        write_result(self.name, "adapters.json", {"stack": self.name, "ok": ok, "hosts": entries})
        failed: dict[str, DeployError | None] = {name: None for name, result in results.items() if not result.ok}
        raise_failures(failed, len(results), hint=f"fix the cause and run `{again}` again")
        return results


def who_asks() -> str:
    """Return user and machine, for the record of moves."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def stack_of(target: Target) -> AdapterStack:
    """Return the stack. Raises UsageError without a manifest, ConfigError for one that does not fit the stack."""
    outputs = load(target)
    path = adapter_manifest(target, outputs.stack)
    releases = read_releases(path)
    if releases is None:
        raise UsageError("there is no manifest of adapters", where=shown(path), hint="write one, see docs/adapters.md")
    return AdapterStack(target, outputs, releases)
