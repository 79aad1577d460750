"""The benchmark's machine: small, with real systemd and sshd, removed at the end."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.project.converge import resources
from infra.clouds.local import machine as machines
from infra.clouds.program.ssh_key import stack_key_pair
from infra.contract.outputs import HostRecord

STACK = "bench-converge"


@contextmanager
def bench_host() -> Iterator[HostRecord]:
    """Yield a new machine that accepts SSH."""
    key = " ".join(stack_key_pair(STACK).public.split()[:2])
    try:
        made = machines.create("bench", stack=STACK, memory_mib=1024, cpus=2, public_keys=(key,))
        yield HostRecord.model_validate(machines.host_record(made))
    finally:
        machines.destroy_stack(STACK)


def prepare(ssh: Sequence[str]) -> None:
    """Make the machine's network settings writable (nspawn mounts them read-only), and update apt's lists."""
    commands = "mount -o remount,bind,rw /proc/sys; apt-get -qq update"
    subprocess.run([*ssh, f"sudo sh -c '{commands}'"], check=True, capture_output=True, timeout=120)


def spoil(ssh: Sequence[str]) -> None:
    """Change one of the files by hand."""
    command = f"echo by hand >> {resources.DRIFTING_FILE}"
    subprocess.run([*ssh, f"sudo sh -c '{command}'"], check=True, capture_output=True, timeout=60)
