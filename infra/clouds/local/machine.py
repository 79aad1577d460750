"""Creates, reads, changes and removes a machine on this host: root filesystem, network, limits, supervisor.

    python -m infra.clouds.local.machine create NAME [--memory-mib N] [--cpus N]    prints a HostRecord
    python -m infra.clouds.local.machine destroy NAME | list

Every step can be interrupted: the record is written first and removed last, so `create` and `destroy` know what to
clean up. Uses no Pulumi and provisions nothing: roles do that, as on any other host.
"""

import json
import math
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.arguments import Parser
from core.errors import HostError, UsageError, run_cli
from core.paths import state_dir
from core.ports import SSH_PORT
from core.waiting.deadline import Deadline
from infra.clouds.local.parts import disk, guest, host, network, orphans, record
from infra.clouds.local.parts.network import Network
from infra.clouds.local.parts.orphans import NSPAWN_RUN
from infra.clouds.local.parts.record import MachineRecord
from infra.clouds.local.parts.runner import runner, tail
from infra.clouds.program.ssh_key import KEY_NAME, stack_key_pair
from tools.rootfs import LOGIN_USER, SHARED_CACHE, ensure_rootfs, shared_cache_dir

BOOT_DEADLINE_S = 60.0
ANSWER_DEADLINE_S = 15.0
"""How long a running machine may not answer before it counts as dead: long enough for a reboot."""

GREETING_S = 10.0
POLL_S = 0.05
MIB_PER_GIB = 1024

DISK_GIB = 60.0
"""The default of MachineSpec: three times the disk of an engine with a small model."""


def create(
    name: str,
    *,
    stack: str,
    memory_mib: int,
    cpus: float,
    public_keys: tuple[str, ...],
    disk_gib: float = DISK_GIB,
    owner: str | None = None,
) -> MachineRecord:
    """Return a machine of this size that answers SSH. Creates or starts it if it does not run.

    Removes an incomplete machine first. A complete one keeps its disk, keys and address.
    """
    owner = owner or str(state_dir().resolve())
    base = ensure_rootfs()
    known = record.find(owner, stack, name)
    identity = known.id if known else record.machine_id(owner, stack, name)
    resource = MachineRecord(
        id=identity,
        owner=owner,
        stack=stack,
        name=name,
        memory_mib=memory_mib,
        cpus=cpus,
        public_keys=public_keys,
        disk_gib=disk_gib,
    )
    with record.locked(identity):
        machine = _whole(identity)
        if machine is None:
            _remove(identity)
            machine = _claim(resource)
            disk.make(machine)
            # Copies the contents into the folder or disk that exists.
            host.run("cp", "--archive", "--reflink=auto", "--no-target-directory", str(base), str(machine.root),
                     timeout_s=300)  # fmt: skip
            machine = machine.changed(host_key=guest.write_identity(machine.root, name))
        machine = _run(machine, memory_mib=memory_mib, cpus=cpus, public_keys=public_keys, disk_gib=disk_gib)
        return machine if machine.phase == "ready" else machine.changed(phase="ready")


def read(identity: str) -> MachineRecord | None:
    """Return the machine if it is complete, runs and answers. None: it is missing, dead or incomplete."""
    machine = record.load(identity)
    if machine is None or machine.phase != "ready" or not runner().is_running(machine):
        return None
    return machine if _answers(machine, ANSWER_DEADLINE_S) else None


def is_off(stack: str, name: str) -> bool:
    """Return whether this checkout's machine is complete and does not run. False if that is unknown."""
    return complete_machines(stack).get(name) is False


def complete_machines(stack: str) -> dict[str, bool]:
    """Return the names of this checkout's complete machines of a stack, each with whether it runs."""
    owner = str(state_dir().resolve())
    return {
        each.name: runner().is_running(each)
        for each in record.all_readable()
        if (each.owner, each.stack, each.phase) == (owner, stack, "ready") and disk.is_whole(each)
    }


def update(
    identity: str,
    *,
    owner: str,
    memory_mib: int,
    cpus: float,
    public_keys: tuple[str, ...],
    disk_gib: float = DISK_GIB,
) -> MachineRecord:
    """Change limits, keys and owner of a machine without a reboot. Start it if it is off.

    Raises HostError if the machine does not exist.
    """
    with record.locked(identity):
        machine = _whole(identity)
        if machine is None:
            raise HostError("there is no such machine", where=identity, hint="run `make up` again")
        resource = {"memory_mib": memory_mib, "cpus": cpus, "public_keys": public_keys, "disk_gib": disk_gib}
        return _run(machine, owner=owner, **resource)


def destroy(identity: str) -> None:
    """Remove a machine and everything that belongs to it, complete or not. Does nothing if there is none.

    Raises HostError that names what remains.
    """
    with record.locked(identity):
        _remove(identity)
    network.restore_forwarding()


def destroy_stack(stack: str, *, owner: str | None = None) -> None:
    """Remove the machines of this checkout's `stack` from this host, also parts of machines without a record."""
    for identity in orphans.ids_of_stack(stack, owner=owner) & orphans.everything().keys():
        destroy(identity)


def host_record(machine: MachineRecord) -> dict[str, Any]:
    """Return the machine in the shape of infra.contract.outputs.HostRecord, with values that JSON can hold."""
    return {
        "name": machine.name,
        "address": Network(machine.id, machine.address_index).address,
        "user": LOGIN_USER,
        "host_keys": [machine.host_key],
        "identity_file": str(Path(machine.owner) / "stacks" / machine.stack / KEY_NAME),
        "cloud": "local",
        "virtualization": "container",
        "cpu_count": math.ceil(machine.cpus),
        "memory_gib": machine.memory_mib / MIB_PER_GIB,
    }


def nspawn_command(machine: MachineRecord) -> list[str]:
    """Return the command that boots the machine and ends when it ends."""
    return [
        "systemd-nspawn", "--quiet", "--boot", f"--directory={machine.root}", f"--machine=llm-{machine.id}",
        f"--hostname={machine.name}", "--register=no", "--keep-unit", "--console=read-only", "--resolv-conf=off",
        "--timezone=off", "--link-journal=no", f"--network-namespace-path=/run/netns/{_network(machine).namespace}",
        "--capability=CAP_NET_ADMIN", f"--bind={shared_cache_dir()}:{SHARED_CACHE}",
    ]  # fmt: skip


def _whole(identity: str) -> MachineRecord | None:
    """Return the record of a complete machine. None: it must be created again."""
    try:
        machine = record.load(identity)
    except HostError:
        return None
    return machine if machine and machine.phase == "ready" and disk.is_whole(machine) else None


def _claim(machine: MachineRecord) -> MachineRecord:
    """Write the record of a new machine, with a network that no other machine uses."""
    with record.locked("host"):
        taken = {other.address_index for other in record.all_readable()}
        return machine.changed(address_index=network.choose_index(machine.id, taken, network.host_routes()))


def _run(machine: MachineRecord, **resource: Any) -> MachineRecord:
    """Apply size, keys and owner, start the machine unless it runs, and wait until it answers."""
    machine = machine.changed(**resource)
    disk.attach(machine)
    guest.write_authorized_keys(machine.root, machine.public_keys)
    _network(machine).up()
    if runner().is_running(machine):
        runner().limit(machine)
    else:
        runner().stop(machine.id)
        runner().start(machine, nspawn_command(machine))
    if not _answers(machine, BOOT_DEADLINE_S):
        raise HostError(
            f"does not answer SSH after {BOOT_DEADLINE_S:.0f} s",
            where=f"machine {machine.name}",
            hint=f"see {machine.log_file}",
            detail=tail(machine.log_file),
        )
    return machine


def _answers(machine: MachineRecord, deadline_s: float) -> bool:
    """Return whether sshd greets within the deadline. Returns at once when the machine stops."""
    end = Deadline.after(deadline_s)
    while end.left_s():
        try:
            with socket.create_connection((_network(machine).address, SSH_PORT), timeout=1) as connection:
                # A busy machine takes a while to greet; a second connection would only give it more work.
                connection.settimeout(GREETING_S)
                if connection.recv(4) == b"SSH-":
                    return True
        except OSError:
            if not runner().is_running(machine):
                return False
        time.sleep(POLL_S)
    return False


def _remove(identity: str) -> None:
    """Stop and remove everything with this id, then check that nothing remains on this host."""
    if machine := _whole(identity):
        machine.changed(phase="removing")  # an interrupted removal must not look like a machine that is switched off
    runner().stop(identity)
    Network(identity, 0).down()
    _forget_nspawn(identity)
    disk.discard(identity)
    record.remove(identity)
    if left := orphans.of_machine(identity):
        raise HostError("could not be removed completely", where=f"machine {identity}", detail="\n".join(left))


def _forget_nspawn(identity: str) -> None:
    """Remove the files that a killed nspawn leaves: its lock on the root filesystem and its folder for mounts."""
    root = record.STORE / identity / "root"
    if root.is_dir():
        seen = root.stat()
        (NSPAWN_RUN / "locks" / f"inode-{seen.st_dev}:{seen.st_ino}").unlink(missing_ok=True)
    for folder in NSPAWN_RUN.glob(f"*/llm-{identity}"):
        folder.rmdir()


def _network(machine: MachineRecord) -> Network:
    return Network(machine.id, machine.address_index)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create, remove or list machines by hand."""
    parser = Parser(prog="python -m infra.clouds.local.machine", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("create", help="create or start a machine and print its HostRecord")
    making.add_argument("--memory-mib", type=int, default=2048)
    making.add_argument("--cpus", type=float, default=2.0)
    making.add_argument("--disk-gib", type=float, default=DISK_GIB)
    removing = commands.add_parser("destroy", help="remove a machine, by name or by id")
    for each in (making, removing):
        each.add_argument("name")
        each.add_argument("--stack", default="by-hand")
    commands.add_parser("list", help="print the machines of this host, of every checkout")
    options = parser.parse_args(arguments)

    if not host.is_root():
        raise UsageError("needs root", where="python -m infra.clouds.local.machine", hint="run it with sudo -E")
    if options.command == "create":
        keys = stack_key_pair(options.stack)
        machine = create(
            options.name,
            stack=options.stack,
            memory_mib=options.memory_mib,
            cpus=options.cpus,
            disk_gib=options.disk_gib,
            public_keys=(keys.public,),
        )
        print(json.dumps(host_record(machine), indent=2))
    elif options.command == "destroy":
        identity = record.machine_id(str(state_dir().resolve()), options.stack, options.name)
        destroy(options.name if options.name in record.all_ids() else identity)
    else:
        print(json.dumps([_listed(machine) for machine in record.all_readable()], indent=2))
    return 0


def _listed(machine: MachineRecord) -> dict[str, Any]:
    """Return one line of `list`."""
    state = "running" if runner().is_running(machine) else "stopped"
    return {"id": machine.id, "owner": machine.owner, "stack": machine.stack, "state": state} | host_record(machine)


if __name__ == "__main__":
    sys.exit(run_cli(main))
