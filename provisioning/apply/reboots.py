"""Brings a host to its list of resources with a reboot in between, if a change takes effect only then.

Keeps no state: after an interruption the same command finishes the work, because the host knows what is missing.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.clouds import MADE
from core.errors import HostError
from core.waiting.condition import wait_until
from infra.contract.outputs import HostRecord
from provisioning.converge.controller import converge
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult, OnEvent, Outcome, Progress
from provisioning.converge.session import Session
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ConnectionCutError, stream
from provisioning.ssh.target import SshTarget

if TYPE_CHECKING:
    import fabric

BOOT_S = 600
"""A bare-metal server checks all its memory before it boots."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"
STEP = "reboot"

Resources = Sequence[Resource] | Callable[[], Sequence[Resource]]


def bring(
    host: HostRecord, resources: Resources, *, dry_run: bool, on_event: OnEvent, session: Session | None = None
) -> HostResult:
    """Bring `host` to `resources`, as `converge` does, with a reboot in between where a change needs one.

    Existing hosts are rebooted by their owner only: the result then has the reboot as a failure. Raises HostError
    as `converge` does, and when the host does not come back.
    """
    first = converge(host, resources, dry_run=dry_run, on_event=on_event, session=session)
    reason = first.reboot
    if reason is None or first.failed:
        return first
    if host.cloud not in MADE:
        return _left_to_owner(first, reason, host, on_event)
    began = time.monotonic()
    reboot_and_wait(host, lambda words: on_event(host.name, Progress(id=STEP, text=words)))
    reboot = Outcome(id=STEP, status="changed", changes=(reason.reboot,), seconds=time.monotonic() - began)
    on_event(host.name, reboot)
    second = converge(host, resources, dry_run=dry_run, on_event=on_event)
    return joined(replace(first, changed=(*first.changed, reboot), seconds=first.seconds + reboot.seconds), second)


def reboot_and_wait(host: HostRecord, tell: Callable[[str], None], *, deadline_s: float = BOOT_S) -> None:
    """Reboot `host` and return when it accepts logins again. Raises HostError when that takes too long."""
    before = _boot_id(host)
    with connect(SshTarget.of(host)) as connection:
        send_reboot(connection, host)

    def again() -> bool | None:
        tell("waiting for the host to come back")
        try:
            return True if _boot_id(host) != before else None
        except HostError:
            return None

    late = HostError(
        f"did not come back within {deadline_s:g} s after a reboot",
        where=host.name,
        hint="look at the machine's console",
    )
    wait_until(again, deadline_s=deadline_s, late=lambda: late)


def send_reboot(connection: "fabric.Connection", host: HostRecord) -> None:
    """Start the reboot of `host`; the connection may be cut before it answers."""
    with contextlib.suppress(ConnectionCutError):
        for _ in stream(connection, SshTarget.of(host), ("systemctl", "reboot")):
            pass


def joined(first: HostResult, second: HostResult) -> HostResult:
    """Return both parts of a run as one. A resource that only the first part changed counts as changed."""
    settled = {outcome.id for outcome in (*second.changed, *second.failed, *second.skipped)}
    changed = {outcome.id: replace(outcome, reboot="") for outcome in first.changed if outcome.id not in settled}
    return replace(
        second,
        changed=(*changed.values(), *second.changed),
        unchanged=tuple(outcome for outcome in second.unchanged if outcome.id not in changed),
        seconds=first.seconds + second.seconds,
        round_trips=first.round_trips + second.round_trips,
    )


def _left_to_owner(result: HostResult, reason: Outcome, host: HostRecord, on_event: OnEvent) -> HostResult:
    """Return the result with the missing reboot as a failure."""
    words = (
        f"{reason.reboot}; existing hosts are not rebooted automatically: reboot it, then run the same command again"
    )
    failed = replace(reason, status="failed", error=words, reboot="")
    on_event(host.name, failed)
    changed = tuple(outcome for outcome in result.changed if outcome is not reason)
    return replace(result, changed=changed, failed=(failed,))


def _boot_id(host: HostRecord) -> str:
    with connect(SshTarget.of(host)) as connection:
        return "".join(stream(connection, SshTarget.of(host), ("cat", BOOT_ID)))
