"""The command: see ollama_models.py."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from http.client import HTTPException
from pathlib import Path

from .builder import Builder
from .recipes import recipes
from .store import ModelError, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(plan: str, *rest: str) -> int:
    """Make missing models, or check whether any is missing; return the exit status."""
    wanted = json.loads(Path(plan).read_text(encoding="utf-8"))
    store = Store(Path(wanted["root"]))
    try:
        if "--check" in rest:
            stale, unlisted = missing(wanted, store)
            return 1 if stale or unlisted else 0
        if "--all" in rest and "--look" in rest:
            return report(left_out(wanted, store), planned=True)
        os.umask(0o022)
        store.prepare()
        with (store.building / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a run that lost its controller may still be working
            if "--all" not in rest:
                make(wanted, store)
            elif left_out(wanted, store):
                store.refuse({})
                make(wanted, store)
        return report(left_out(wanted, store)) if "--all" in rest else 0
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def report(problems: dict[str, str], *, planned: bool = False) -> int:
    """Print which models could not be made, and why, each reason once; return the exit status."""
    reasons = "; ".join(dict.fromkeys(" ".join(problem.split()) for problem in problems.values()))
    if not reasons:
        return 0
    if planned:
        print(f"planned: try again: {reasons}")
    else:
        print(f"error: all others are served: {reasons}", file=sys.stderr)
    return 1


def missing(wanted: dict[str, Any], store: Store) -> tuple[dict[str, str], bool]:
    """Return the recipes of names that are not served correctly, and whether any served model is surplus.

    The second value is False while there are such names. The recipes do not include an adapter that failed with exactly
    this recipe: it is left out, and the others are served.
    """
    resources, made, refused = recipes(wanted["models"]), store.note(), store.refused()
    stale = {
        name: recipe
        for name, recipe in resources.items()
        if not store.is_whole(name, made, recipe) and refused.get(name, {}).get("recipe") != recipe
    }
    names, sources = kept(wanted)
    return stale, bool(wanted["prune"] and not stale and (store.others(names) or store.unneeded(names, sources)))


def left_out(wanted: dict[str, Any], store: Store) -> dict[str, str]:
    """Return the plan's names that could not be made, with the reasons."""
    resources, made = recipes(wanted["models"]), store.note()
    return {
        name: str(each["problem"])
        for name, each in store.refused().items()
        if resources.get(name) == each["recipe"] and not store.is_whole(name, made, each["recipe"])
    }


def make(wanted: dict[str, Any], store: Store) -> None:
    """Make missing models, publish all at once, and remove surplus ones. Raises ModelError.

    An adapter that cannot be made is left out; its name keeps the previous model.
    """
    stale, _ = missing(wanted, store)
    if stale:
        resources = recipes(wanted["models"])
        # A recipe that failed in an earlier run is not tried again here, so it stays refused.
        still = {
            name: each
            for name, each in store.refused().items()
            if name not in stale and resources.get(name) == each["recipe"]
        }
        refused: dict[str, Any] = {}
        todo = [model for model in wanted["models"] if stale.keys() & set(model["names"])]
        while todo:  # an adapter that crashes Ollama's server must not stop the others
            with Builder(wanted["program"], store) as builder:
                while todo:
                    problem, is_up = _made(builder, todo[0])
                    model = todo.pop(0)
                    if problem:
                        names = stale.keys() & set(model["names"])
                        refused.update({name: {"recipe": stale[name], "problem": problem} for name in names})
                    if not is_up:
                        break
        store.refuse({**still, **refused})
        store.publish({name: recipe for name, recipe in stale.items() if name not in refused})
    if wanted["prune"]:
        store.prune(*kept(wanted))


def _made(builder: Builder, model: dict[str, Any]) -> tuple[str, bool]:
    """Make one model; return why an adapter failed, and whether the server is still up. Raises for a base model."""
    try:
        builder.make(model)
    except ModelError as error:
        if not model.get("adapter"):
            raise
        return str(error), True
    except OSError as error:
        if not model.get("adapter"):
            raise
        if error.filename is not None:  # an error of a file, not of the connection to the server
            return "{} cannot be made: {}: {}".format(model["names"][0], error.filename, error.strerror), True
        return _broke_off(model, error), False
    except (HTTPException, ValueError) as error:  # an incomplete answer
        if not model.get("adapter"):
            raise ModelError(_broke_off(model, error)) from error
        return _broke_off(model, error), False
    return "", True


def _broke_off(model: dict[str, Any], error: Exception) -> str:
    return "{} cannot be made: Ollama broke off ({})".format(model["names"][0], error)


def kept(wanted: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Return the names and the fetched sources that the plan needs."""
    names = {name for model in wanted["models"] for name in model["names"]}
    return names, {model["from"].get("registry", "") for model in wanted["models"]}
