"""Engine environments that outlive a test run: a machine gets a copy, as building one takes a minute of two cores.

The first run on a computer builds the environment as `provision` does. The agent links a complete build that it finds.
tests/machine/test_faults_install.py proves the build itself, with one package of the same lock.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from core.paths import cache_dir, state_dir
from infra.clouds.local.parts import record
from infra.contract.outputs import HostRecord
from provisioning.converge.agent.kinds import venv as kind
from provisioning.converge.resources import Resource, Venv
from provisioning.roles.host.locks import lock_text
from tests.machine.machines import STACK
from tools.rootfs import SHARED_CACHE, ensure_rootfs, shared_cache_dir

STORE = "test-environments"
"""The folder in the cache. It holds the environments of one recipe only, as each takes 0.5 GB."""


def bring_environments(host: HostRecord, resources: Sequence[Resource]) -> None:
    """Copy the environments of `resources` that an earlier run kept to the machine."""
    for on_host, kept in _folders(host, resources):
        if _is_whole(kept):
            on_host.parent.mkdir(parents=True, exist_ok=True)
            _copy(kept, on_host)


def keep_environments(host: HostRecord, resources: Sequence[Resource]) -> None:
    """Keep the environments that the machine has built, in place of those of other locks."""
    for on_host, kept in _folders(host, resources):
        if _is_whole(kept):
            continue
        shutil.rmtree(cache_dir() / STORE, ignore_errors=True)
        partial = kept.with_name(f"{kept.name}.partial")
        partial.parent.mkdir(parents=True)
        _copy(on_host, partial)
        partial.rename(kept)


def _is_whole(kept: Path) -> bool:
    """Return whether the environment is kept, and the machines' shared cache still has the wheels that it links to."""
    distributions = kept.glob("lib/*/site-packages/*.dist-info")
    links = [(each / "METADATA").readlink() for each in distributions]
    wheels = {Path(*link.relative_to(SHARED_CACHE).parts[:3]) for link in links}
    return bool(wheels) and all((shared_cache_dir() / wheel).is_dir() for wheel in wheels)


def _folders(host: HostRecord, resources: Sequence[Resource]) -> list[tuple[Path, Path]]:
    """Return for each environment its folder on the machine's disk, and the one in the cache."""
    machine = record.find(str(state_dir()), STACK, host.name)
    assert machine is not None
    folders = []
    for each in resources:
        if isinstance(each, Venv):
            path = Path(kind.build_folder(each, kind.fingerprint(each)))
            kept = cache_dir() / STORE / _recipe() / path.name
            folders.append((machine.root / path.relative_to("/"), kept))
    return folders


def _recipe() -> str:
    """Return a digest of what decides how an environment is built, beside its lock: Python, uv and the agent's code."""
    parts = (ensure_rootfs().name, lock_text("uv"), Path(kind.__file__).read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--archive", "--reflink=auto", "--no-target-directory", str(source), str(target)], check=True)
