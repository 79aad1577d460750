"""One command on a machine over the project's own connection; and waiting for a condition."""

import time
from collections.abc import Callable

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.ssh.connection import connect
from provisioning.ssh.target import SshTarget
from tests.slowness import patient


def on(host: HostRecord, command: str) -> str:
    """Return the command's output. Raises AssertionError with its stderr if it fails."""
    with connect(SshTarget.of(host)) as connection:
        done = connection.run(command, hide=True, warn=True, in_stream=False)
    assert done.ok, f"{command}: status {done.exited}\n{done.stdout}{done.stderr}"
    return str(done.stdout).strip()


def wait_until(ready: Callable[[], bool], *, deadline_s: float = 30.0) -> None:
    """Wait until `ready` is true; an unreachable machine counts as not ready. Fails at the deadline."""
    end = time.monotonic() + patient(deadline_s)
    while time.monotonic() < end:
        try:
            if ready():
                return
        except HostError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not so within {patient(deadline_s):.0f} s")
