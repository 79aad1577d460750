"""Paths on the controlling machine.

checkout/.state/          secrets and state of this checkout, 0700, git-ignored; LLM_DEPLOY_STATE overrides it
checkout/runs/            results, git-ignored; LLM_DEPLOY_RUNS overrides it
<XDG cache>/llm-deploy/   what can be downloaded or built again: CLIs, root filesystems, wheels, models
"""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
STACKS_DIR = CHECKOUT / "stacks"

_PLACEMENT = "placement.json"
_OLD_PLACEMENT = "lease.json"


def state_dir() -> Path:
    """Return this checkout's state folder. Creates it with mode 0700 if it is missing."""
    path = Path(os.environ.get("LLM_DEPLOY_STATE") or CHECKOUT / ".state")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def stack_state_dir(stack: str) -> Path:
    """Return the folder of a stack's keys, outputs and endpoint. Creates it with mode 0700 if it is missing."""
    path = state_dir() / "stacks" / stack
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def outputs_file(stack: str) -> Path:
    """Return the file in which `up` writes a stack's hosts and what they serve."""
    return state_dir() / "stacks" / stack / "outputs.json"


def stack_file_digest(stack: str) -> Path:
    """Return the file with the hash of the stack file that the outputs come from."""
    return outputs_file(stack).with_name("stack-file.sha256")


def placement_file(stack: str) -> Path:
    """Return the file in which `up` records where it put a cloud stack."""
    return state_dir() / "stacks" / stack / _PLACEMENT


def old_placement_file(stack: str) -> Path:
    """Return the file that had the placement before `placement.json`. It is still read; the next write replaces it."""
    return placement_file(stack).with_name(_OLD_PLACEMENT)


def placement_files() -> list[Path]:
    """Return the placement files of all cloud stacks that this checkout knows, one per stack."""
    folder = state_dir() / "stacks"
    files = {path.parent: path for name in (_OLD_PLACEMENT, _PLACEMENT) for path in folder.glob(f"*/{name}")}
    return sorted(files.values())


def full_path(path: Path) -> Path:
    """Return a config's path as an absolute one: `~` is the home folder, a relative path starts at the checkout."""
    return CHECKOUT / path.expanduser()


def runs_dir() -> Path:
    """Return the folder of results."""
    return Path(os.environ.get("LLM_DEPLOY_RUNS") or CHECKOUT / "runs")


def cache_dir() -> Path:
    """Return this project's folder in the XDG cache folder. Creates it if it is missing."""
    base = os.environ.get("XDG_CACHE_HOME")
    path = (Path(base) if base else Path.home() / ".cache") / "llm-deploy"
    path.mkdir(parents=True, exist_ok=True)
    return path
