"""Where things lie on the controlling machine.

checkout/.state/    secrets and state of this checkout, 0700, git-ignored (LLM_DEPLOY_STATE overrides it)
checkout/runs/      results, git-ignored (LLM_DEPLOY_RUNS overrides it)
<XDG cache>/llm-deploy/   what can be made again: CLIs, root filesystems, wheels, models
"""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
STACKS_DIR = CHECKOUT / "stacks"

_LEASE = "lease.json"


def state_dir() -> Path:
    """Return this checkout's state folder, made with mode 0700 if it is missing."""
    path = Path(os.environ.get("LLM_DEPLOY_STATE") or CHECKOUT / ".state")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def stack_state_dir(stack: str) -> Path:
    """Return the folder of one stack's keys, outputs and endpoint, made with mode 0700 if it is missing."""
    path = state_dir() / "stacks" / stack
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def outputs_file(stack: str) -> Path:
    """Return where `up` writes the hosts of a stack, and what they serve."""
    return state_dir() / "stacks" / stack / "outputs.json"


def stack_file_digest(stack: str) -> Path:
    """Return where `up` notes which file the outputs of a stack come from."""
    return outputs_file(stack).with_name("stack-file.sha256")


def placement_file(stack: str) -> Path:
    """Return where `up` notes what it settled for a rented stack."""
    return state_dir() / "stacks" / stack / _LEASE


def placement_files() -> list[Path]:
    """Return the notes on all rented stacks that this checkout knows."""
    return sorted((state_dir() / "stacks").glob(f"*/{_LEASE}"))


def full_path(path: Path) -> Path:
    """Return the path that a config means: `~` is the home folder, relative paths start at the checkout."""
    return CHECKOUT / path.expanduser()


def runs_dir() -> Path:
    """Return the folder of results."""
    return Path(os.environ.get("LLM_DEPLOY_RUNS") or CHECKOUT / "runs")


def cache_dir() -> Path:
    """Return this project's cache folder under the XDG cache folder, made if it is missing."""
    base = os.environ.get("XDG_CACHE_HOME")
    path = (Path(base) if base else Path.home() / ".cache") / "llm-deploy"
    path.mkdir(parents=True, exist_ok=True)
    return path
