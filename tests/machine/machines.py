"""Machines for tests: made by infra.clouds.local.machine, and removed whatever happens."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from core.processes import Process
from infra.clouds.local import machine as machines
from infra.clouds.local.parts import record
from infra.clouds.program.ssh_key import KEY_NAME, make_key_pair
from infra.contract.outputs import HostRecord

SMALL_MIB = 1024
STACK = "test"


RUN_NOTE = "test-run"
"""File in a test run's state folder that says which process the run is."""


def begin_run(state: Path) -> None:
    """Record the owner of `state`, and remove the machines of killed test runs."""
    (state / RUN_NOTE).write_text(str(Process.of_pid(os.getpid())))
    for each in record.all_readable():
        if each.stack == STACK and _run_is_over(Path(each.owner)):
            machines.destroy(each.id)


def _run_is_over(state: Path) -> bool:
    """Return whether the test run of this state folder has certainly ended; without a record it is unknown."""
    try:
        run = Process.parse((state / RUN_NOTE).read_text())
    except FileNotFoundError:
        return not state.exists()
    return run is not None and not run.is_running()


class NewMachine(Protocol):
    """Makes a machine that is removed when the test ends; a second call with the same name finds it again."""

    def __call__(self, name: str = "one", *, memory_mib: int = SMALL_MIB, cpus: float = 2.0) -> HostRecord:
        """Return the machine, answering SSH."""


def one_thread(host: HostRecord) -> HostRecord:
    """Return the host as one whose engine computes with one thread.

    Two would wait for each other while other workers use the cores.
    """
    return host.model_copy(update={"cpu_count": 1})


@contextmanager
def making_machines(state: Path) -> Iterator[NewMachine]:
    """Make machines that belong to the state folder `state`; remove them, and nothing else, at the end."""
    key_file = state / "stacks" / STACK / KEY_NAME
    if key_file.exists():
        public = " ".join(key_file.with_name(f"{KEY_NAME}.pub").read_text().split()[:2])
    else:
        public = make_key_pair(key_file, comment="test").public
    with ExitStack() as undo:

        def make(name: str = "one", *, memory_mib: int = SMALL_MIB, cpus: float = 2.0) -> HostRecord:
            # Recorded before it is made, so that a machine that never started is removed too.
            undo.callback(machines.destroy, record.machine_id(str(state), STACK, name))
            made = machines.create(
                name, stack=STACK, memory_mib=memory_mib, cpus=cpus, public_keys=(public,), owner=str(state)
            )
            return HostRecord.model_validate(machines.host_record(made))

        yield make
