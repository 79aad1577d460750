"""The command: see ollama_models.py."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

from .builder import Builder
from .recipes import recipes
from .store import ModelError, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(plan: str, *rest: str) -> int:
    """Make what is missing, or look whether something is; return the exit status."""
    wanted = json.loads(Path(plan).read_text(encoding="utf-8"))
    store = Store(Path(wanted["root"]))
    try:
        if "--check" in rest:
            stale, unlisted = missing(wanted, store)
            return 1 if stale or unlisted else 0
        os.umask(0o022)
        store.prepare()
        with (store.building / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a run whose controller was cut off may still be at it
            make(wanted, store)
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def missing(wanted: dict[str, Any], store: Store) -> tuple[dict[str, str], bool]:
    """Return the recipes of the names that are not served as they should be; if none, whether something is too much."""
    wishes, made = recipes(wanted["models"]), store.note()
    stale = {name: recipe for name, recipe in wishes.items() if not store.is_whole(name, made, recipe)}
    names, sources = kept(wanted)
    return stale, bool(wanted["prune"] and not stale and (store.others(names) or store.unneeded(names, sources)))


def make(wanted: dict[str, Any], store: Store) -> None:
    """Make what is missing, show all of it at once, and remove what is too much. Raises ModelError."""
    stale, _ = missing(wanted, store)
    if stale:
        with Builder(wanted["program"], store) as builder:
            for model in wanted["models"]:
                if stale.keys() & set(model["names"]):
                    builder.make(model)
        store.publish(stale)
    if wanted["prune"]:
        store.prune(*kept(wanted))


def kept(wanted: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Return the names, and the fetched sources, that the plan needs."""
    names = {name for model in wanted["models"] for name in model["names"]}
    return names, {model["from"].get("registry", "") for model in wanted["models"]}
