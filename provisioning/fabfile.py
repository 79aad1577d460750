"""The tasks people run: `fab -r provisioning TASK`, or `fab TASK` in this folder, or the targets of the Makefile.

Each works on the hosts of --stack or --inventory. What it does lies in a module that it imports after its first words,
so that those come at once.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fabric import main, task

from core.console import next_command, say
from core.errors import UsageError
from provisioning.adapter_tasks import *  # noqa: F403  # the tasks adapters:…
from provisioning.existing.tasks import adopt
from provisioning.fab_program import end_wrong_usage_with_2, leave_at_once
from provisioning.offline.tasks import bundle
from provisioning.target import Target
from provisioning.task_end import end as _end

__all__ = ["adopt", "bundle"]
"""Tasks that lie in files of their own."""

# fab turns this off for the whole process; without the compiled modules every run would compile ours again.
sys.dont_write_bytecode = False

Function = TypeVar("Function", bound=Callable[..., None])
Names = Sequence[str]

AT_ONCE = "8"
LINES = "200"
ALL_ROLES = "base,engine,gateway"

WHICH = {
    "stack": "Stack whose machines are meant; `up` made them.",
    "inventory": "YAML or JSON file of hosts that exist already, in place of a stack.",
    "host": "Only this host of them; may be given several times.",
}
PARALLEL = {"parallel": f"How many hosts are worked on at the same time (default {AT_ONCE})."}
ROLES = {"roles": f"Comma-separated parts to bring in place (default {ALL_ROLES})."}
LOGS = {
    "unit": "Only `engine` or only `gateway`.",
    "lines": f"How many of the newest lines (default {LINES}).",
    "follow": "Go on with new lines until Ctrl-C.",
}


def _task(options: dict[str, str]) -> Callable[[Function], Function]:
    """Return the decorator of a task with hosts and `options`; no short flags, as a new option would change them."""
    decorator: Callable[[Function], Function] = task(help=WHICH | options, iterable=["host"], auto_shortflags=False)
    return decorator


@_task(ROLES | PARALLEL)
def plan(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), roles: str = ALL_ROLES, parallel: str = AT_ONCE
) -> None:
    """Show what `provision` would change on the hosts, with diffs; changes nothing."""

    def run() -> int:
        target, chosen, at_once = Target(stack, inventory), _roles(roles), _number("parallel", parallel)
        say(f"→ plan {target.name} ({', '.join(chosen)})")
        _greet(target, host)
        from provisioning.provision import plan

        return plan(target, names=host, roles=chosen, at_once=at_once)

    _end(run)


@_task(ROLES | PARALLEL)
def provision(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), roles: str = ALL_ROLES, parallel: str = AT_ONCE
) -> None:
    """Install engine, models and gateway on the hosts; runs again safely."""

    def run() -> int:
        target, chosen, at_once = Target(stack, inventory), _roles(roles), _number("parallel", parallel)
        say(f"→ provision {target.name} ({', '.join(chosen)})")
        _greet(target, host)
        from provisioning.provision import provision

        return provision(target, names=host, roles=chosen, at_once=at_once)

    _end(run)


@_task(PARALLEL | {"json": "As JSON."})
def status(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE, json: bool = False
) -> None:
    """One screen per host: units, engine, models, certificate, disk, memory; ends with 0 when all hosts serve."""

    def run() -> int:
        target, at_once = Target(stack, inventory), _number("parallel", parallel)
        say(f"→ status {target.name}")
        from provisioning.status import status

        return status(target, names=host, at_once=at_once, as_json=json)

    _end(run)


_smoke_task: Callable[[Function], Function] = task(
    help={
        "stack": WHICH["stack"],
        "inventory": WHICH["inventory"],
        "wait-s": "How long the endpoint may take to get ready.",
        "json": "As JSON.",
    },
    auto_shortflags=False,
)


@_smoke_task
def smoke(_: Any, *, stack: str = "", inventory: str = "", wait_s: str = "", json: bool = False) -> None:
    """Prove that the endpoint answers, only to those who may ask, and that GPU hosts compute on their GPUs."""

    def run() -> int:
        target, patience_s = Target(stack, inventory), _number("wait-s", wait_s) if wait_s else 0
        say(f"→ smoke test of {target.name}")
        from provisioning.smoke import smoke

        return smoke(target, wait_s=patience_s, as_json=json)

    _end(run)


@_task(LOGS)
def logs(
    _: Any,
    *,
    stack: str = "",
    inventory: str = "",
    host: Names = (),
    unit: str = "",
    lines: str = LINES,
    follow: bool = False,
) -> None:
    """Journal of engine and gateway."""

    def run() -> int:
        target, wanted = Target(stack, inventory), _number("lines", lines)
        say(f"→ logs {target.name}" + (", until Ctrl-C" if follow else ""))
        from provisioning.logs import logs

        return logs(target, names=host, unit=unit, lines=wanted, follow=follow)

    _end(run)


@_task({"command": "Run this instead of a shell."})
def ssh(_: Any, *, stack: str = "", inventory: str = "", host: Names = (), command: str = "") -> None:
    """Open a shell on a host; --host names it when there are several."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ ssh {target.name}")
        from provisioning.shell import ssh

        return ssh(target, names=host, command=command)

    _end(run)


@_task(PARALLEL)
def restart(_: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE) -> None:
    """Restart the engine and wait until it answers; running requests finish first."""

    def run() -> int:
        target, at_once = Target(stack, inventory), _number("parallel", parallel)
        say(f"→ restart {target.name}: running requests finish first, then the model is loaded again")
        from provisioning.restart import restart

        return restart(target, names=host, at_once=at_once)

    _end(run)


@_task(PARALLEL)
def reboot(_: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE) -> None:
    """Reboot the hosts and wait until they serve again."""

    def run() -> int:
        target, at_once = Target(stack, inventory), _number("parallel", parallel)
        say(f"→ reboot {target.name}, and wait until it serves again")
        from provisioning.restart import reboot

        return reboot(target, names=host, at_once=at_once)

    _end(run)


@_task({"allow_downgrade": "Also go to a release that is older than the one on the host."})
def upgrade_engine(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), allow_downgrade: bool = False
) -> None:
    """Bring the engine to this checkout's release, one host after the other; one that does not answer goes back."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ upgrade the engine of {target.name}: the present release stays until the new one has answered")
        from provisioning.upgrade import upgrade_engine

        return upgrade_engine(target, names=host, allow_downgrade=allow_downgrade)

    _end(run)


_key_task: Callable[[Function], Function] = task(
    help={"stack": WHICH["stack"], "inventory": WHICH["inventory"], "client": "A name of gateway.clients."},
    auto_shortflags=False,
)


@_key_task
def rotate_key(_: Any, *, stack: str = "", inventory: str = "", client: str = "") -> None:
    """Give a client a new API key; the old one works until the next `provision`."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ rotate the key of {client or 'a client'} of {target.name}")
        from provisioning.credentials import rotate_client_key
        from provisioning.inventory import load

        path = rotate_client_key(load(target).stack, client)
        say(f"✓ the new key of {client} is in {path}; hosts take it, and forget the old one, with the next provision")
        next_command(target.command("provision"))
        return 0

    _end(run)


def _greet(target: Target, host: Names) -> None:
    """Begin to connect: SSH waits for the hosts while Python reads the modules of the task."""
    from provisioning.head_start import begin

    begin(target, host)


def _number(option: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{text!r} is no number", where=f"--{option}", hint="write 1 or more")
    return int(text)


def _roles(names: str) -> Sequence[str]:
    known = ALL_ROLES.split(",")
    for name in names.split(","):
        if name not in known:
            raise UsageError(f"there is no role {name!r}", where="--roles", hint=f"write some of {ALL_ROLES}")
    return [name for name in known if name in names.split(",")]


end_wrong_usage_with_2(main.program)
leave_at_once(main.program)
