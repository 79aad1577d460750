"""Engine environments that outlive a test run: a machine gets a copy, as building one takes a minute of two cores.

The first run on a computer builds the environment as `provision` does. The agent links a complete build that it finds.
tests/machine/test_faults_install.py proves the build itself, with one package of the same lock.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from core.paths import cache_dir, state_dir
from infra.clouds.local.parts import record
from infra.contract.outputs import HostRecord
from provisioning.converge.agent.kinds import venv as kind
from provisioning.converge.resources import Resource, Venv
from tests.machine.machines import STACK
from tools.rootfs import ensure_rootfs


def bring_environments(host: HostRecord, resources: Sequence[Resource]) -> None:
    """Copy the environments of `resources` that an earlier run kept to the machine."""
    for on_host, kept in _folders(host, resources):
        if kept.is_dir():
            on_host.parent.mkdir(parents=True, exist_ok=True)
            _copy(kept, on_host)


def keep_environments(host: HostRecord, resources: Sequence[Resource]) -> None:
    """Keep the environments that the machine has built, in place of those of other locks."""
    for on_host, kept in _folders(host, resources):
        if kept.is_dir():
            continue
        shutil.rmtree(kept.parent, ignore_errors=True)
        partial = kept.with_name(f"{kept.name}.partial")
        partial.parent.mkdir(parents=True)
        _copy(on_host, partial)
        partial.rename(kept)


def _folders(host: HostRecord, resources: Sequence[Resource]) -> list[tuple[Path, Path]]:
    """Return for each environment its folder on the machine's disk, and the one in the cache.

    The cache's folder is named after the root filesystem, whose Python the environment uses.
    """
    machine = record.find(str(state_dir()), STACK, host.name)
    assert machine is not None
    folders = []
    for each in resources:
        if isinstance(each, Venv):
            path = Path(kind.build_folder(each, kind.fingerprint(each)))
            kept = cache_dir() / "test-environments" / ensure_rootfs().name / path.name
            folders.append((machine.root / path.relative_to("/"), kept))
    return folders


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--archive", "--reflink=auto", "--no-target-directory", str(source), str(target)], check=True)
