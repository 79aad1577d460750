"""The tasks people run: `fab -r provisioning TASK`, or `fab TASK` in this folder, or the targets of the Makefile.

Each works on the hosts of --stack or --inventory. A task imports its module after its first printed line, so that the
line comes at once.
"""

import sys
from typing import Any

from fabric import main

from core.console import next_command, say
from provisioning.adapters.tasks import (
    adapters_apply,
    adapters_entry,
    adapters_list,
    adapters_manifest,
    adapters_plan,
    adapters_promote,
    adapters_prune,
    adapters_rollback,
)
from provisioning.cli.fab_program import end_wrong_usage_with_2, leave_at_once
from provisioning.cli.task import ALL_ROLES, HOSTS, TARGET, Names, chosen_roles, fab_task, number
from provisioning.existing.tasks import adopt
from provisioning.hosts.target import Target
from provisioning.offline.tasks import bundle
from provisioning.roles.host.layout import LOGS_OF

__all__ = [
    "adapters_apply",
    "adapters_entry",
    "adapters_list",
    "adapters_manifest",
    "adapters_plan",
    "adapters_promote",
    "adapters_prune",
    "adapters_rollback",
    "adopt",
    "bundle",
]
"""Tasks that other files define."""

# fab sets this to True for the whole process: without compiled modules every run would compile ours again.
sys.dont_write_bytecode = False

AT_ONCE = "8"
LINES = "200"

PARALLEL = {"parallel": f"Work on this many hosts at the same time (default {AT_ONCE})."}
ROLES = {"roles": f"Comma-separated roles to apply (default {ALL_ROLES})."}
AS_JSON = {"json": "As JSON."}
SSH = {
    "command": "Run this instead of a shell.",
    "forward": "Forward this port of the host's loopback here until Ctrl-C, e.g. 9090 for Prometheus.",
}
LOGS = {
    "unit": f"Only one of {', '.join(LOGS_OF)}.",
    "lines": f"Print this many of the newest lines (default {LINES}).",
    "follow": "Keep printing new lines until Ctrl-C.",
}


@fab_task(HOSTS | ROLES | PARALLEL | {"full": "Print all lines of new files."})
def plan(
    _: Any,
    *,
    stack: str = "",
    inventory: str = "",
    host: Names = (),
    roles: str = ALL_ROLES,
    parallel: str = AT_ONCE,
    full: bool = False,
) -> int:
    """Show what `provision` would change on the hosts, with diffs; changes nothing."""
    target, chosen, at_once = Target(stack, inventory), chosen_roles(roles), number("parallel", parallel)
    say(f"→ plan {target.name} ({', '.join(chosen)})")
    from provisioning.hosts.prefetch import begin

    greeted = begin(target, host)  # SSH connects while Python reads the modules of the task
    from provisioning.apply.provision import plan

    return plan(target, names=host, roles=chosen, at_once=at_once, full=full, greeted=greeted)


@fab_task(HOSTS | ROLES | PARALLEL)
def provision(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), roles: str = ALL_ROLES, parallel: str = AT_ONCE
) -> int:
    """Install engine, models and gateway on the hosts; runs again safely."""
    target, chosen, at_once = Target(stack, inventory), chosen_roles(roles), number("parallel", parallel)
    say(f"→ provision {target.name} ({', '.join(chosen)})")
    from provisioning.hosts.prefetch import begin

    greeted = begin(target, host)  # SSH connects while Python reads the modules of the task
    from provisioning.apply.provision import provision

    return provision(target, names=host, roles=chosen, at_once=at_once, greeted=greeted)


@fab_task(HOSTS | PARALLEL | AS_JSON)
def status(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE, json: bool = False
) -> int:
    """One screen per host: units, engine, models, certificate, disk, memory; ends with 0 when all hosts serve."""
    target, at_once = Target(stack, inventory), number("parallel", parallel)
    say(f"→ status {target.name}")
    from provisioning.operate.status import status

    return status(target, names=host, at_once=at_once, as_json=json)


@fab_task(HOSTS | {"once": "Show it once, and end."} | AS_JSON)
def top(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), once: bool = False, json: bool = False
) -> int:
    """Live view: hosts, places, queue, tokens a second, first token, errors, overflow; needs no Prometheus."""
    target = Target(stack, inventory)
    say(f"→ top {target.name}")
    from provisioning.operate.top.command import run

    return run(target, names=host, once=once, as_json=json)


@fab_task(TARGET | {"wait-s": "How long the endpoint may take to get ready."} | AS_JSON)
def smoke(_: Any, *, stack: str = "", inventory: str = "", wait_s: str = "", json: bool = False) -> int:
    """Check that the endpoint answers, that it requires a key, and that GPU hosts compute on their GPUs."""
    target, patience_s = Target(stack, inventory), number("wait-s", wait_s) if wait_s else 0
    say(f"→ smoke test of {target.name}")
    from provisioning.operate.smoke import smoke

    return smoke(target, wait_s=patience_s, as_json=json)


@fab_task(HOSTS | PARALLEL | AS_JSON)
def spend(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE, json: bool = False
) -> int:
    """What providers cost, by day, provider and client, reservations included."""
    target, at_once = Target(stack, inventory), number("parallel", parallel)
    say(f"→ spend of {target.name}")
    from provisioning.operate.spend import spend

    return spend(target, names=host, at_once=at_once, as_json=json)


@fab_task(HOSTS | LOGS)
def logs(
    _: Any,
    *,
    stack: str = "",
    inventory: str = "",
    host: Names = (),
    unit: str = "",
    lines: str = LINES,
    follow: bool = False,
) -> int:
    """Journal of engine and gateway."""
    target, wanted = Target(stack, inventory), number("lines", lines)
    say(f"→ logs {target.name}" + (", until Ctrl-C" if follow else ""))
    from provisioning.operate.logs import logs

    return logs(target, names=host, unit=unit, lines=wanted, follow=follow)


@fab_task(HOSTS | SSH)
def ssh(_: Any, *, stack: str = "", inventory: str = "", host: Names = (), command: str = "", forward: str = "") -> int:
    """Open a shell on a host; --host names it when there are several."""
    target, port = Target(stack, inventory), number("forward", forward) if forward else 0
    say(f"→ ssh {target.name}")
    from provisioning.operate.shell import ssh

    return ssh(target, names=host, command=command, forward=port)


@fab_task(HOSTS | PARALLEL)
def restart(_: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE) -> int:
    """Restart the engine and wait until it answers; running requests finish first."""
    target, at_once = Target(stack, inventory), number("parallel", parallel)
    say(f"→ restart {target.name}: running requests finish first, then the model is loaded again")
    from provisioning.operate.restart import restart

    return restart(target, names=host, at_once=at_once)


@fab_task(HOSTS | PARALLEL)
def reboot(_: Any, *, stack: str = "", inventory: str = "", host: Names = (), parallel: str = AT_ONCE) -> int:
    """Reboot the hosts and wait until they serve again."""
    target, at_once = Target(stack, inventory), number("parallel", parallel)
    say(f"→ reboot {target.name}, and wait until it serves again")
    from provisioning.operate.restart import reboot

    return reboot(target, names=host, at_once=at_once)


@fab_task(HOSTS | {"allow_downgrade": "Also install a release that is older than the one on the host."})
def upgrade_engine(
    _: Any, *, stack: str = "", inventory: str = "", host: Names = (), allow_downgrade: bool = False
) -> int:
    """Upgrade the engine to this checkout's release, host by host; one that does not answer is rolled back."""
    target = Target(stack, inventory)
    say(f"→ upgrade the engine of {target.name}: the current release stays until the new one answers")
    from provisioning.operate.upgrade import upgrade_engine

    return upgrade_engine(target, names=host, allow_downgrade=allow_downgrade)


@fab_task(TARGET | {"client": "A name of gateway.clients."})
def rotate_key(_: Any, *, stack: str = "", inventory: str = "", client: str = "") -> int:
    """Give a client a new API key; the old one works until the next `provision`."""
    target = Target(stack, inventory)
    say(f"→ rotate the key of {client or 'a client'} of {target.name}")
    from provisioning.access.credentials import rotate_client_key
    from provisioning.hosts.inventory import load

    path = rotate_client_key(load(target).stack, client)
    say(f"✓ the new key of {client} is in {path}")
    say(f"  hosts answer it with 401 until `{target.command('provision')}` installs it; the old key works until then")
    next_command(target.command("provision"))
    return 0


end_wrong_usage_with_2(main.program)
leave_at_once(main.program)
