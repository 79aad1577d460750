#!/usr/bin/env python3
"""The folders of models and adapters on this host: list their sizes and uses, and remove unused ones.

    stored-folders show  DATA         print path, size and use of each as JSON
    stored-folders prune DATA KEEP    remove folders neither in use nor in KEEP, a JSON list, and print their paths

Starts, stops and fetches nothing.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNITS = Path("/etc/systemd/system")
RELEASE_NOTES = Path("/var/lib/llm-deploy/releases")
ENGINES = ("vllm.service", "ollama.service")


def folders(data: Path) -> list[dict[str, Any]]:
    """Return the folders of models and adapters with their sizes, and whether this host needs them."""
    used = in_use(data)
    found = [each for kind in ("models", "adapters") for each in sorted((data / kind).glob("*")) if each.is_dir()]
    return [{"path": str(each), "bytes": _bytes(each), "in_use": str(each) in used} for each in found]


def in_use(data: Path) -> set[str]:
    """Return the folders of served versions, and all words in the unit files that an engine runs or may start from.

    Those are the present unit files, and those of the releases that answered last, which the host may return to. They
    decide, because the stack file may already name another model that provision has not fetched yet.
    """
    texts = [(UNITS / unit).read_text(encoding="utf-8") for unit in ENGINES if (UNITS / unit).is_file()]
    for note in (RELEASE_NOTES / (unit + ".json") for unit in ENGINES):
        good = json.loads(note.read_text(encoding="utf-8"))["good"] if note.is_file() else None
        texts += [good["unit"]] if good else []
    served = data / "adapters" / "served.json"
    versions = json.loads(served.read_text(encoding="utf-8"))["versions"] if served.is_file() else {}
    return {*versions.values(), *(word for text in texts for word in text.split())}


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def prune(data: Path, keep: list[str]) -> list[str]:
    """Remove unused folders; return their paths."""
    unneeded = [each["path"] for each in folders(data) if each["path"] not in keep and not each["in_use"]]
    for path in unneeded:
        shutil.rmtree(path)
    return unneeded


def main(command: str, data: str, keep: str = "[]") -> int:
    """Run one command while nobody changes what is served; return the exit status."""
    place = Path(data, "adapters")
    if not place.is_dir():
        print("error: this host has never had adapters; run provision", file=sys.stderr)
        return 1
    with (place / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(json.dumps(folders(Path(data)) if command == "show" else prune(Path(data), json.loads(keep))))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
