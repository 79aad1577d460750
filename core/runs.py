"""Results of commands: `runs/<stack>/<UTC time>/<name>.json`; `runs/<stack>/latest` links to the newest folder.

The commands of one `make demo` or `make deploy-cpu` share a folder through LLM_DEPLOY_RUN.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.files import write_atomically
from core.paths import runs_dir

RUN_VARIABLE = "LLM_DEPLOY_RUN"
"""Environment variable with the name of a shared run folder: the UTC time, as `run_name` writes it."""


def run_name() -> str:
    """Return the current UTC time as a folder name that sorts by time, e.g. `20261121T120208.153Z`."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"


def write_result(stack: str, name: str, result: dict[str, Any]) -> Path:
    """Write `result` as `name`, e.g. `smoke.json`, into this run's folder; update `latest`; return the file's path."""
    folder = runs_dir() / stack / (os.environ.get(RUN_VARIABLE) or run_name())
    path = folder / name
    write_atomically(path, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    _point_latest(folder)
    return path


def _point_latest(folder: Path) -> None:
    """Make `latest` link to `folder` atomically, so that it never dangles."""
    staged = folder.parent / f".latest.{os.getpid()}"
    staged.unlink(missing_ok=True)
    staged.symlink_to(folder.name)
    staged.replace(folder.parent / "latest")
