"""Restarts engines or reboots hosts, and waits until they serve again."""

import time
from collections.abc import Callable, Sequence

from core.console import next_command
from core.errors import DeployError, HostError
from core.runs import write_result
from core.waiting.condition import wait_until
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply.diagnosis import diagnose
from provisioning.apply.reboots import BOOT_S, send_reboot
from provisioning.cli.progress import ProgressPrinter, error_line
from provisioning.converge.result import Progress
from provisioning.hosts.inventory import choose, choose_engines, load_to_look
from provisioning.hosts.parallel import Failures, on_each
from provisioning.hosts.target import Target
from provisioning.operate.host_status import HostStatus
from provisioning.operate.rotation import await_rotation
from provisioning.operate.status import ask
from provisioning.operate.unit_state import UnitState
from provisioning.roles.host.layout import ENGINE_UNIT
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import stream
from provisioning.ssh.target import SshTarget

GIVE_UP_AFTER_STARTS = 2
"""Waiting does not help an engine that died this often."""

JOURNAL_LINES = 400

OUT_OF_MEMORY = "Out of memory: Killed process of the unit"
"""As the kernel logs it."""

RESTART = 'systemctl reset-failed "$0"; exec systemctl --no-block restart "$0"'
"""Resets the start limit first: otherwise systemd may refuse the restart."""

Tell = Callable[[str], None]


def restart(target: Target, *, names: Sequence[str], at_once: int) -> int:
    """Restart the engines and wait until they answer; running requests finish first. Returns the exit status."""
    outputs = load_to_look(target)
    hosts = choose_engines(outputs, names)
    return _on_hosts(target, outputs, hosts, restart_engine, verb="restart", at_once=at_once)


def reboot(target: Target, *, names: Sequence[str], at_once: int) -> int:
    """Reboot the hosts and wait until they serve again; return the exit status."""
    outputs = load_to_look(target)
    return _on_hosts(target, outputs, choose(outputs, names), reboot_host, verb="reboot", at_once=at_once)


def _on_hosts(
    target: Target,
    outputs: StackOutputs,
    hosts: Sequence[HostRecord],
    work: Callable[[StackOutputs, HostRecord, Tell], HostStatus],
    *,
    verb: str,
    at_once: int,
) -> int:
    """Do `work` on the hosts and print how long it took.

    Behind a gateway's host, one after the other, so that the endpoint keeps serving: the gateway's last, and no more
    after a failure.
    """
    in_turn = outputs.gateway_host is not None
    hosts = sorted(hosts, key=lambda host: host.name == outputs.gateway_host)
    progress = ProgressPrinter([host.name for host in hosts])
    failures = Failures(hosts, lambda name, error: progress.say(name, error_line(error)))
    report: list[dict[str, object]] = []
    failed: list[str] = []

    def timed(host: HostRecord) -> tuple[HostStatus, float]:
        if in_turn and failed:
            raise HostError(f"left as it is, because {failed[0]} failed", where=host.name)
        began = time.monotonic()

        def tell(text: str) -> None:
            progress.event(host.name, Progress(id=verb, text=text))

        try:
            now = work(outputs, host, tell)
            await_rotation(outputs, host, tell)
        except DeployError:
            failed.append(host.name)
            raise
        return now, time.monotonic() - began

    with progress:
        for host, (now, seconds) in failures.sift(on_each(hosts, timed, at_once=1 if in_turn else at_once)):
            report.append({"host": host.name, "ok": True, "seconds": round(seconds, 3)})
            progress.say(host.name, f"✓ {_words(now)} after {seconds:.1f} s")
    report += [{"host": name, "ok": False, "error": str(error)} for name, error in failures.errors.items()]
    write_result(outputs.stack, f"{verb}.json", {"stack": outputs.stack, "ok": not failures.errors, "hosts": report})
    failures.raise_any(hint=f"see `{target.command('status')}`")
    next_command(target.command("smoke"), target.command("status"))
    return 0


def _words(now: HostStatus) -> str:
    """Return what to print for a host on which everything installed works; it may have no engine."""
    alone = now.engine_wanted and not now.engine_installed
    return "is up again, without an engine," if alone else "serves again"


def restart_engine(outputs: StackOutputs, host: HostRecord, tell: Tell) -> HostStatus:
    """Restart the engine on `host`; return the host's status afterwards.

    Raises HostError if the engine does not answer again.
    """
    serving = outputs.serving_of(host)
    name = ENGINE_UNIT[serving.engine]
    with connect(SshTarget.of(host)) as connection:
        seen = ask(connection, outputs, host)
        before = seen.unit(name)
        if before is None:
            raise HostError(f"{name} is not installed", where=host.name, hint="run provision first")
        for _ in stream(connection, SshTarget.of(host), ("sh", "-c", RESTART, name)):
            pass

        def again() -> tuple[HostStatus, bool]:
            now = ask(connection, outputs, host)
            unit = now.unit(name)
            return now, unit is not None and unit.invocation not in ("", before.invocation)

        return _wait(seen, again, tell, host, deadline_s=serving.drain_s + serving.ready_timeout_s)


def reboot_host(outputs: StackOutputs, host: HostRecord, tell: Tell) -> HostStatus:
    """Reboot `host`; return its status afterwards. Raises HostError if an installed part does not work again."""
    with connect(SshTarget.of(host)) as connection:
        before = ask(connection, outputs, host)
        send_reboot(connection, host)

    def again() -> tuple[HostStatus, bool]:
        with connect(SshTarget.of(host)) as connection:
            now = ask(connection, outputs, host)
        return now, now.boot_id != before.boot_id

    return _wait(before, again, tell, host, deadline_s=BOOT_S + outputs.serving_of(host).ready_timeout_s)


def _wait(
    before: HostStatus,
    again: Callable[[], tuple[HostStatus, bool]],
    tell: Tell,
    host: HostRecord,
    *,
    deadline_s: float,
) -> HostStatus:
    """Return the host's status once `again` reports the new start and nothing is missing."""
    missing = "is shutting down"

    def ready() -> HostStatus | None:
        nonlocal missing
        now: HostStatus | None = None
        try:
            now, restarted = again()
        except HostError as error:
            missing = error.what
        else:
            missing = now.missing if restarted else "is shutting down"
            dead = next((unit for unit in now.units if restarted and unit.has_failed(GIVE_UP_AFTER_STARTS)), None)
            if dead is not None:
                raise _not_started(host, dead, out_of_memory=now.oom_kills > before.oom_kills)
        if missing:
            tell(missing)
        return None if missing else now

    return wait_until(
        ready,
        deadline_s=deadline_s,
        late=lambda: HostError(f"does not serve after the restart: {missing}", where=host.name),
    )


def _not_started(host: HostRecord, unit: UnitState, *, out_of_memory: bool) -> HostError:
    """Return why `unit` did not start, from its journal; in a container that lacks the kernel's kills."""
    argv = ("journalctl", "-q", "--no-pager", "-o", "cat", "-n", str(JOURNAL_LINES), "-u", unit.name)
    with connect(SshTarget.of(host)) as connection:
        journal = "".join(stream(connection, SshTarget.of(host), argv))
    diagnosis = diagnose(f"{journal}\n{OUT_OF_MEMORY}" if out_of_memory else journal)
    cause = f": {diagnosis.cause}" if diagnosis.cause else ""
    hint = diagnosis.hint or f"`make logs HOST={host.name}`, with the same STACK or INVENTORY, shows more"
    return HostError(f"{unit.name} is {unit.words}{cause}", where=host.name, hint=hint)
