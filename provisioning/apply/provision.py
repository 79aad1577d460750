"""Brings all hosts to their desired state, or plans that; prints and writes the result.

provisioning/converge does the work on a host; provisioning/apply/desired_state.py has the resources.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.console import next_command, say
from core.errors import DeployError, HostError, UsageError
from core.runs import write_result
from infra.contract.outputs import HostRecord
from provisioning.access.credentials import drop_other_keys
from provisioning.access.door_certificates import doors_of_old_ca
from provisioning.access.door_trust import read_trust
from provisioning.access.other_names import mention_other_name
from provisioning.apply.asked_now import asked_now
from provisioning.apply.closed_port import mention_closed_port
from provisioning.apply.diagnosis import diagnose
from provisioning.apply.provider_names import mention_unknown_names
from provisioning.apply.reboots import bring
from provisioning.apply.run_report import run_report
from provisioning.apply.trusted_cas import note_list
from provisioning.cli.progress import ProgressPrinter, counts, error_line, failure_detail, is_new_file, plan_text
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult, Outcome
from provisioning.hosts.installed_names import (
    Names,
    all_names,
    installed_names,
    names_in_pool,
    note_names,
    unknown_hosts,
)
from provisioning.hosts.inventory import choose, file_has_changed, load, mention_changed_file
from provisioning.hosts.parallel import Failures, on_each
from provisioning.hosts.prefetch import Prefetch
from provisioning.hosts.target import Target
from provisioning.roles.host.layout import ENGINE_UNIT
from serving.endpoint import write_endpoint

if TYPE_CHECKING:
    from provisioning.apply.desired_state import DesiredState

ENGINE_UNIT_IDS = tuple(f"unit:{name}" for name in ENGINE_UNIT.values())


def provision(
    target: Target, *, names: Sequence[str], roles: Sequence[str], at_once: int, greeted: Prefetch | None = None
) -> int:
    """Bring the hosts to their desired state; return the exit status."""
    began = time.monotonic()
    run = _Run(target, names, roles, greeted or Prefetch(), dry_run=False)
    run.follow(at_once)
    if run.clients_can_come:
        _hand_on(run)
    again = f"fix the cause and run `{target.command('provision')}` again; `{target.command('logs')}` shows more"
    run.failures.raise_any(hint=again)
    mention_closed_port(run.outputs, run.results, at_once=at_once)
    mention_unknown_names(run.outputs, run.results, at_once=at_once)
    if run.gateway_is_behind:
        front = run.outputs.gateway_host
        say(f"! {front} does not know yet what these hosts have: run `{target.command('provision', f'HOST={front}')}`")
    if run.outputs.gateway_host is not None and (old := doors_of_old_ca(run.outputs.stack)):
        what = f"{', '.join(old)}: certificates of the CA that was replaced, so that no request failed"
        say(f"! {what}; run `{target.command('provision')}` once more to replace them")
    say(f"✓ provision {run.outputs.stack}: {time.monotonic() - began:.1f} s; {run.written}")
    _name_next(target, roles)
    return 0


def plan(
    target: Target,
    *,
    names: Sequence[str],
    roles: Sequence[str],
    at_once: int,
    full: bool = False,
    greeted: Prefetch | None = None,
) -> int:
    """Print what `provision` would change, with diffs, on stdout; return the exit status. Changes nothing.

    A new file is shown by its length, with its lines only if `full`.
    """
    run = _Run(target, names, roles, greeted or Prefetch(), dry_run=True, full=full)
    run.follow(at_once)
    if not full and any(is_new_file(outcome) for result in run.results.values() for outcome in result.changed):
        say(f"of new files only the length is shown; `{target.command('plan', 'ARGS=--full')}` shows their lines")
    run.failures.raise_any(hint=f"fix the cause and run `{target.command('plan')}` again")
    changed = any(result.changed for result in run.results.values())
    if file_has_changed(target):
        said = "" if changed else "nothing to change there; "
        say(f"this plan uses the stack file as the last `up` read it: {said}run `up` first to include later edits")
        next_command(target.command("up"), target.command("plan"))
    elif changed:
        next_command(target.command("provision"))
    else:
        say("nothing to change")
        _name_next(target, roles)
    return 0


def _name_next(target: Target, roles: Sequence[str]) -> None:
    """Name the commands that check the result; the smoke test needs engine and gateway."""
    edited = [target.command("up")] if file_has_changed(target) else []
    smoke = [target.command("smoke")] if {"engine", "gateway"} <= set(roles) else []
    next_command(*edited, *smoke, target.command("status"))


class _Run:
    """One run over the hosts. `results` and `failures` fill as hosts end, so that Ctrl-C keeps the results so far."""

    def __init__(
        self,
        target: Target,
        names: Sequence[str],
        roles: Sequence[str],
        greeted: Prefetch,
        *,
        dry_run: bool,
        full: bool = False,
    ) -> None:
        self._began = time.monotonic()
        self.outputs = load(target)
        mention_changed_file(target)
        self.hosts = choose(self.outputs, names)
        self._names_before = installed_names(self.outputs)
        self._unknown_before = unknown_hosts(self.outputs)
        self._trust_before = read_trust(self.outputs.stack)
        self._kept: tuple[str, ...] = ()
        self.results: dict[str, HostResult] = {}
        self.failures = Failures(self.hosts, lambda name, error: self._progress.say(name, error_line(error)))
        self.resources: DesiredState
        self.written: Path
        self._roles = roles
        self._greeted = greeted
        self._dry_run = dry_run
        self._full = full
        self._progress = ProgressPrinter([host.name for host in self.hosts])
        self._lists: Future[DesiredState] = Future()

    def follow(self, at_once: int) -> None:
        """Change or plan the hosts, print their progress until the last one has ended, and write the result.

        Raises ConfigError for files that the config names and that cannot work, before any host is changed.
        """
        try:
            ends = self._begin(at_once)
        except KeyboardInterrupt:
            self._write()
            raise
        try:
            with self._progress:
                for host, result in self.failures.sift(ends):
                    self.results[host.name] = result
                    self._tell(result)
                    if not result.ok:
                        self.failures.add(host.name, None)
                    elif not self._dry_run:
                        note_names(self.outputs, self._names_of_engines([host]))
                        note_list(self.outputs, host, self.resources.lists[host.name])
            if not self._dry_run:  # hosts that failed are known from now on, but for those that the gateway asks
                tried = [name for name in self._names_of_engines(self.hosts) if name not in self._kept]
                has = installed_names(self.outputs)
                note_names(self.outputs, {name: has[name] for name in tried})
        finally:
            self._write()

    def _begin(self, at_once: int) -> Iterator[tuple[HostRecord, HostResult | DeployError]]:
        """Connect to the hosts while the lists are made; return an iterator of the hosts' results as they come.

        The host with the gateway comes last: its list depends on what the hosts behind it have then.
        """
        last = tuple(host for host in self.hosts if host.name == self.outputs.gateway_host)
        expected = installed_names(self.outputs) | self._names_of_engines(self.hosts)
        known = self._names_of_engines(self.hosts)
        unknown = [name for name in unknown_hosts(self.outputs) if name not in known]
        if last and "gateway" in self._roles and unknown:
            what = f"{', '.join(unknown)}: never provisioned from here, so {last[0].name} would stop asking there"
            raise UsageError(
                what, where=f"stack {self.outputs.stack}", hint="run provision for all hosts and all roles"
            )
        ends = on_each([host for host in self.hosts if host not in last], self._work, at_once=at_once)
        from provisioning.apply import desired_state  # imports templates and cryptography while the hosts connect

        try:
            self.resources = desired_state.desired_state(
                self.outputs, self.hosts, self._roles, keep=not self._dry_run, installed=expected
            )
        except BaseException as error:
            self._lists.set_exception(error)
            raise
        self._lists.set_result(self.resources)
        if self.resources.endpoint is not None:
            mention_other_name(self.resources.endpoint)
        return itertools.chain(ends, self._after_engines(last, expected))

    def _after_engines(
        self, hosts: Sequence[HostRecord], expected: Mapping[str, Names]
    ) -> Iterator[tuple[HostRecord, HostResult | DeployError]]:
        """Bring the gateway's host to its list, made again if hosts behind it have other names or certificates now."""
        installed = expected if self._dry_run else installed_names(self.outputs)
        lost = [name for name in self._unknown_before if not installed[name]]
        if hosts and lost and "gateway" in self._roles and not self._dry_run:
            try:
                self._kept = asked_now(self.outputs, hosts[0], lost)
            except DeployError as error:
                yield hosts[0], error
                return
            if self._kept:
                what = f"was left as it is: it would lose {', '.join(self._kept)}, which it asks and which failed here"
                yield hosts[0], HostError(what, where=hosts[0].name)
                return
        behind = [each for each in self.outputs.hosts if hosts and each.name in installed]
        for name in [each.name for each in behind if not names_in_pool(self.outputs, each, installed[each.name])]:
            self._progress.say(name, f"! gets no requests from {hosts[0].name} until a provision of it succeeds")
        if hosts and (installed != expected or read_trust(self.outputs.stack) != self._trust_before):
            from provisioning.apply import desired_state

            made = desired_state.desired_state(self.outputs, hosts, self._roles, installed=installed)
            self.resources = replace(self.resources, lists={**self.resources.lists, **made.lists})
        yield from on_each(hosts, self._work, at_once=1)

    def _names_of_engines(self, hosts: Iterable[HostRecord]) -> dict[str, Names]:
        """Return the names that those of `hosts` behind the gateway have once this run has succeeded there."""
        names = all_names(self.outputs) if "engine" in self._roles else {}
        return {host.name: names[host.name] for host in hosts if host.name in names}

    @property
    def clients_can_come(self) -> bool:
        """Whether every host succeeded; behind a gateway's host, whether that one did."""
        if self.outputs.gateway_host is None:
            return not self.failures.errors
        done = self.results.get(self.outputs.gateway_host)
        return done is not None and done.ok

    @property
    def gateway_is_behind(self) -> bool:
        """Whether hosts behind a gateway's host now have other names than it knows, because this run left it out."""
        is_left_out = self.outputs.gateway_host not in (None, *(host.name for host in self.hosts))
        return is_left_out and installed_names(self.outputs) != self._names_before

    def _work(self, host: HostRecord) -> HostResult:
        on_event = self._progress.progress_only if self._dry_run else self._progress.event
        session = self._greeted.session(host)
        return bring(host, lambda: self._list_of(host), dry_run=self._dry_run, on_event=on_event, session=session)

    def _list_of(self, host: HostRecord) -> Sequence[Resource]:
        """Return the list of `host`; waits until it is made."""
        self._lists.result()
        return self.resources.lists[host.name]

    def _tell(self, result: HostResult) -> None:
        if self._dry_run:
            self._progress.aside(plan_text(result, full=self._full))
        for outcome in result.failed:
            self._progress.say(result.host, why(outcome))
        self._progress.say(result.host, counts(result, would=self._dry_run))

    def _write(self) -> None:
        """Write provision.json or plan.json."""
        seconds = time.monotonic() - self._began
        report = run_report(
            self.outputs.stack, self._roles, self.hosts, self.results, self.failures.errors, seconds=seconds
        )
        self.written = write_result(self.outputs.stack, "plan.json" if self._dry_run else "provision.json", report)


def _hand_on(run: _Run) -> None:
    """Write the endpoint; drop the keys of removed clients if this run reached all hosts with a gateway."""
    if run.resources.endpoint is None:
        return

    write_endpoint(run.resources.endpoint)
    if run.outputs.gateway_host is not None or len(run.hosts) == len(run.outputs.hosts):
        drop_other_keys(run.outputs.stack, run.outputs.gateway.client_names)


def why(outcome: Outcome) -> str:
    """Return why a resource failed, for the lines below it: for an engine the cause, not the end of its journal."""
    if outcome.id in ENGINE_UNIT_IDS:
        diagnosis = diagnose(outcome.detail)
        if diagnosis.cause:
            return f"    cause: {diagnosis.cause}" + (f"\n    help: {diagnosis.hint}" if diagnosis.hint else "")
    return failure_detail(outcome)
