"""The SDKs of a cloud: installed into this checkout's environment when a command first needs them.

`make setup` installs none of them, because most people use one cloud or none. Needs no network if they are installed.
"""

import importlib
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from catalog.clouds import SDKS
from core.errors import DeployError, UsageError
from core.paths import CHECKOUT
from core.waiting.one_at_a_time import one_at_a_time

BOOTSTRAP = CHECKOUT / "tools" / "bootstrap.sh"
ENVIRONMENT = CHECKOUT / ".venv"
"""The environment into which tools/bootstrap.sh installs."""


def ensure_sdk(cloud: str) -> None:
    """Install the SDKs of `cloud` if they are missing. Some clouds need none.

    An interrupted installation is repeated, because packages that the SDKs depend on may be missing.

    Raises DeployError if the installation fails, UsageError if Python does not run from this checkout's environment.
    """
    if not _missing(cloud):
        return
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        raise UsageError(
            f"{_missing(cloud)} is not installed",
            where=sys.prefix,
            hint=f"install the extra: pip install -e .[{cloud}]",
        )
    if not os.access(ENVIRONMENT, os.W_OK):
        what, hint = (
            f"{_missing(cloud)} cannot be installed: your user may not write to this folder",
            "make your user its owner with chown",
        )
        raise UsageError(what, where=str(ENVIRONMENT), hint=f"{hint}, or remove it as its owner and run this again")
    with one_at_a_time(
        ENVIRONMENT / ".sdk.lock", f"  another process is installing the SDKs of {cloud}; waiting for it"
    ):
        if _missing(cloud):
            _install(cloud)
    importlib.invalidate_caches()  # another command may have installed them


def _unfinished(cloud: str) -> Path:
    """Return the file that exists while the SDKs of a cloud are being installed."""
    return ENVIRONMENT / f".sdk-{cloud}.unfinished"


def _install(cloud: str) -> None:
    _unfinished(cloud).touch()
    done = subprocess.run([str(BOOTSTRAP), cloud], stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    importlib.invalidate_caches()
    if done.returncode == 0:
        _unfinished(cloud).unlink()
    if missing := _missing(cloud):
        hint = "see the lines above, and run the same command again"
        raise DeployError(f"{missing} could not be installed", where=f"cloud {cloud}", hint=hint)


def _missing(cloud: str) -> str:
    """Return the first package that is not completely installed. Empty: all are installed."""
    names = SDKS.get(cloud, ())
    if names and _unfinished(cloud).exists():
        return names[0]
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            return name
    return ""
