"""Upgrades engines to this checkout's release, one host at a time.

The host itself rolls back a release that does not answer (provisioning/roles/engine/release.py).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.console import next_command
from core.errors import DeployError, HostError
from core.runs import write_result
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply.provision import ENGINE_UNIT_IDS, why
from provisioning.apply.reboots import bring
from provisioning.cli.progress import ProgressPrinter, counts, error_line
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult, Progress
from provisioning.hosts.inventory import choose_engines, load
from provisioning.hosts.parallel import Failures
from provisioning.hosts.target import Target
from provisioning.operate.host_status import HostStatus
from provisioning.operate.rotation import await_rotation
from provisioning.operate.status import ask
from provisioning.roles.engine.release import VERSION_CHECK
from provisioning.roles.host.layout import ENGINE_UNIT
from provisioning.ssh.connection import connect
from provisioning.ssh.target import SshTarget


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """The result of one host's upgrade."""

    host: str
    before: str = ""
    """Version; empty if no engine answered."""
    after: str = ""
    seconds: float = 0.0
    error: str = ""

    @property
    def words(self) -> str:
        """The line to print."""
        if self.before == self.after:
            return f"✓ already {self.after}, and it answers"
        return f"✓ {self.before or 'an engine that did not answer'} → {self.after} in {self.seconds:.1f} s"

    def as_json(self) -> dict[str, object]:
        """For upgrade-engine.json."""
        return {**vars(self), "ok": not self.error}


def upgrade_engine(target: Target, *, names: Sequence[str], allow_downgrade: bool) -> int:
    """Upgrade one host after the other, and stop at the first failure; return the exit status."""
    outputs = load(target)
    hosts = choose_engines(outputs, names)
    from provisioning.apply.desired_state import desired_state

    lists = desired_state(outputs, hosts, ["engine"], allow_downgrade=allow_downgrade).lists
    done: list[Upgrade] = []
    try:
        failure = _one_by_one(outputs, hosts, lists, done)
    finally:
        entries = [each.as_json() for each in done]
        ok = len(done) == len(hosts) and not any(each.error for each in done)
        write_result(outputs.stack, "upgrade-engine.json", {"stack": outputs.stack, "ok": ok, "hosts": entries})
    if failure is not None:
        rest = [host.name for host in hosts[len(done) :]]
        untouched = f"not upgraded: {', '.join(rest)}" if rest else ""
        hint = "; ".join(words for words in (untouched, failure.hint or f"see `{target.command('logs')}`") if words)
        raise HostError(failure.what, where=failure.where, hint=hint)
    next_command(target.command("smoke"), target.command("status"))
    return 0


def _one_by_one(
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    lists: Mapping[str, Sequence[Resource]],
    done: list[Upgrade],
) -> DeployError | None:
    """Upgrade the hosts until one fails; print each and add it to `done` as it ends. Return the failure."""
    with ProgressPrinter([host.name for host in hosts]) as progress:
        failures = Failures(hosts, lambda name, error: progress.say(name, error_line(error)))
        for host in hosts:
            try:
                done.append(_upgrade(outputs, host, lists[host.name], progress))
            except DeployError as error:
                done.append(Upgrade(host=host.name, error=str(error)))
                failures.add(host.name, error)
                return error
            progress.say(host.name, done[-1].words)
    return None


def _upgrade(
    outputs: StackOutputs, host: HostRecord, resources: Sequence[Resource], progress: ProgressPrinter
) -> Upgrade:
    """Upgrade one host. Raises HostError if the new release does not answer, or is older than the current one."""
    began = time.monotonic()
    before = _look(outputs, host)
    if before.unit(ENGINE_UNIT[outputs.serving_of(host).engine]) is None:
        raise HostError("no engine is installed", where=host.name, hint="run provision first")
    result = bring(host, resources, dry_run=False, on_event=progress.event)
    for outcome in result.failed:
        progress.say(host.name, why(outcome))
    progress.say(host.name, counts(result))
    if not result.ok:
        raise HostError(_reason(result), where=host.name)
    await_rotation(outputs, host, lambda words: progress.event(host.name, Progress(id="upgrade", text=words)))
    after = _look(outputs, host)
    return Upgrade(
        host=host.name,
        before=before.engine_version,
        after=after.engine_version,
        seconds=round(time.monotonic() - began, 3),
    )


def _reason(result: HostResult) -> str:
    """Return in one line why the upgrade failed: the engine's failure if there is one, else the first failure.

    If nothing failed, a resource was skipped, for example until a reboot.
    """
    undone = (*result.failed, *result.skipped)
    worst = next((each for each in result.failed if each.id in ENGINE_UNIT_IDS), undone[0])
    if worst.id == f"command:{VERSION_CHECK}":
        return worst.error
    return f"{worst.id.partition(':')[2]}: {worst.error}"


def _look(outputs: StackOutputs, host: HostRecord) -> HostStatus:
    with connect(SshTarget.of(host)) as connection:
        return ask(connection, outputs, host)
