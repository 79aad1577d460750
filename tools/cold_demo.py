"""`make demo` as on a fresh machine: in a copy of this checkout, with empty caches, both removed at the end.

Proves that the demo needs nothing from an earlier run. Does not touch the user's caches,
`.venv` and stacks. Debian packages stay installed: on a new machine they take some 15 s more.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from core.console import ONCE_VARIABLE, say
from core.errors import DeployError, UsageError, when_interrupted
from core.paths import CHECKOUT
from core.runs import RUN_VARIABLE

PARENT = Path("/var/tmp")  # noqa: S108  # mkdtemp makes a folder with a random name
"""On disk, because the caches grow to some 10 GB and /tmp may be in memory."""

OF_THIS_CHECKOUT = (
    "LLM_DEPLOY_STATE",
    "LLM_DEPLOY_RUNS",
    RUN_VARIABLE,
    ONCE_VARIABLE,
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
)
"""Variables that point to this checkout, or that belong to this `make`. The copy must not inherit them."""


def environment(folder: Path) -> dict[str, str]:
    """Return this process's environment with every cache inside `folder`."""
    cache = folder / "cache"
    kept = {name: value for name, value in os.environ.items() if name not in OF_THIS_CHECKOUT}
    return {
        **kept,
        "XDG_CACHE_HOME": str(cache),
        "UV_CACHE_DIR": str(cache / "uv"),
        "PIP_CACHE_DIR": str(cache / "pip"),
        "GOCACHE": str(cache / "go-build"),
        "GOMODCACHE": str(cache / "go-mod"),
        "PULUMI_HOME": str(folder / "pulumi"),
    }


def copy_checkout(target: Path) -> None:
    """Copy the files of this checkout that git tracks or would add, with uncommitted changes.

    Raises UsageError if git cannot list them.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        raise UsageError(
            f"git cannot list the files of this checkout ({listed.stderr.strip()})",
            where="demo --cold",
            hint="run it in a clone of the repository",
        )
    for name in filter(None, listed.stdout.split("\0")):
        source = CHECKOUT / name
        if source.is_symlink() or source.is_file():  # git also lists a deleted file
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def run(engine: str, arguments: Sequence[str]) -> int:
    """Run the demo of `engine` with `arguments` in a copy, remove the copy, and return 0.

    Raises DeployError if the demo fails. The copy and its machine then stay for a look.
    """
    folder = Path(tempfile.mkdtemp(prefix="llm-deploy-cold-", dir=PARENT))
    checkout = folder / "checkout"
    argv = ["make", "-C", str(checkout), "demo", f"ENGINE={engine}", f"ARGS={shlex.join(arguments)}"]
    undo = f"make -C {checkout} down STACK=local{'-ollama' if engine == 'ollama' else ''}; rm -rf {folder}"
    say(f"demo --cold: a copy of this checkout in {folder}, with empty caches; some 10 GB, removed at the end")
    start = time.monotonic()
    with when_interrupted(f"`{undo}` to undo"):
        copy_checkout(checkout)
        status = subprocess.run(argv, env=environment(folder), check=False).returncode
    if status:
        raise DeployError(
            f"the cold demo ended with status {status}", where="demo --cold", hint=f"remove its machine: `{undo}`"
        )
    say(f"  {time.monotonic() - start:7.1f} s  with the set-up of the checkout (uv, .venv), from empty caches")
    shutil.rmtree(folder)
    return 0
