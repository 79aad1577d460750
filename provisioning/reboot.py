"""Hosts rebooted, and waited for until they serve again."""

import time
from collections.abc import Callable, Sequence

from core.console import next_command, say
from core.errors import DeployError, HostError
from infra.outputs import HostRecord, StackOutputs
from provisioning.connection import connect
from provisioning.converge.result import Progress
from provisioning.fleet import on_each
from provisioning.inventory import Target, choose, load
from provisioning.narration import Narrator
from provisioning.remote import ConnectionCutError, stream
from provisioning.status import HostStatus, ask, look
from provisioning.waiting import wait_until

BACK_DEADLINE_S = 600
"""A metal server with much memory checks all of it before it boots."""


def reboot(target: Target, *, names: Sequence[str], at_once: int) -> int:
    """Reboot the hosts, `at_once` of them at a time, and wait until each serves again; return the exit status."""
    outputs = load(target)
    hosts = choose(outputs, names)
    say(f"→ reboot {outputs.stack}: {', '.join(host.name for host in hosts)}")
    narrator = Narrator([host.name for host in hosts])
    failed: list[DeployError] = []

    def work(host: HostRecord) -> float:
        return reboot_one(outputs, host, lambda text: narrator.event(host.name, Progress(id="reboot", text=text)))

    for host, result in on_each(hosts, work, at_once=at_once):
        if isinstance(result, DeployError):
            failed.append(result)
            narrator.say(host.name, f"✗ {result}")
        else:
            narrator.say(host.name, f"✓ serves again after {result:.1f} s")
    if failed:
        raise HostError(f"{len(failed)} of {len(hosts)} hosts failed", hint=f"see `{target.command('status')}`")
    next_command(target.command("smoke"), target.command("status"))
    return 0


def reboot_one(outputs: StackOutputs, host: HostRecord, tell: Callable[[str], None]) -> float:
    """Reboot `host`; return after how many seconds everything that is installed on it works again."""
    began = time.monotonic()
    with connect(host) as connection:
        boot_id = ask(connection, outputs, host).boot_id
        try:
            for _ in stream(connection, host, ("systemctl", "reboot")):
                pass
        except ConnectionCutError:
            pass  # it may go down before it has answered
    missing = "is going down"

    def back() -> HostStatus | None:
        nonlocal missing
        try:
            now = look(outputs, host)
        except HostError as error:
            missing = error.what
        else:
            missing = now.missing if now.boot_id != boot_id else "is going down"
            if not missing:
                return now
        tell(f"{missing}, {time.monotonic() - began:.0f} s")
        return None

    wait_until(
        back,
        deadline_s=BACK_DEADLINE_S + outputs.serving.ready_timeout_s,
        late=lambda: HostError(f"does not serve again: {missing}", where=host.name),
    )
    return time.monotonic() - began
