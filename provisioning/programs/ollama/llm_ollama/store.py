"""Models on the disk in Ollama's layout: served ones, and those being made."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBRARY = "manifests/registry.ollama.ai/library"
NOTE = "made.json"
REFUSED = "refused.json"


class ModelError(Exception):
    """An error that the reader of the log can correct."""


class Store:
    """The two folders: served models, and models being made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.served = root / "models"
        self.building = root / "building"
        self.sources = root / "sources"
        self.blobs = self.served / "blobs"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.blobs, self.served / LIBRARY, self.building / LIBRARY):
            folder.mkdir(parents=True, exist_ok=True)
        shared = self.building / "blobs"
        if not shared.is_symlink():
            shared.symlink_to("../models/blobs")

    def note(self) -> dict[str, Any]:
        """Return the models made, by name: recipe and SHA-256 of the manifest."""
        try:
            return dict(json.loads((self.building / NOTE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def refused(self) -> dict[str, Any]:
        """Return the models that could not be made, by name: recipe and Ollama's reason."""
        try:
            return dict(json.loads((self.building / REFUSED).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def refuse(self, names: dict[str, Any]) -> None:
        """Record the models that could not be made."""
        staged = self.building / (REFUSED + ".new")
        staged.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
        staged.replace(self.building / REFUSED)

    def is_whole(self, name: str, made: dict[str, Any], recipe: str) -> bool:
        """Return whether model `name` is served by this recipe, with all its blobs."""
        known = made.get(name, {})
        path = self.served / LIBRARY / name.replace(":", "/")
        if known.get("recipe") != recipe or not path.is_file():
            return False
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != known["manifest"]:
            return False
        blobs = [(self.blobs / layer["digest"].replace(":", "-"), layer["size"]) for layer in layers_of(content)]
        return all(blob.is_file() and blob.stat().st_size == size for blob, size in blobs)

    def publish(self, names: dict[str, str]) -> None:
        """Publish all models to the engine, replacing each manifest in one step; record what was made."""
        made = self.note()
        for name, recipe in names.items():
            place = LIBRARY + "/" + name.replace(":", "/")
            content = (self.building / place).read_bytes()
            target = self.served / place
            target.parent.mkdir(parents=True, exist_ok=True)
            staged = self.building / "manifest.new"  # not beside it: Ollama reads each file there as a model
            staged.write_bytes(content)
            staged.replace(target)
            made[name] = {"recipe": recipe, "manifest": hashlib.sha256(content).hexdigest()}
        staged = self.building / (NOTE + ".new")
        staged.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        staged.replace(self.building / NOTE)

    def others(self, names: set[str]) -> list[Path]:
        """Return the manifests of served models that are not in `names`."""
        library = self.served / LIBRARY
        return [path for path in library.glob("*/*") if ":".join(path.relative_to(library).parts) not in names]

    def unneeded(self, names: set[str], sources: set[str]) -> list[Path]:
        """Return the blobs that no model of `names` needs, and fetched sources not in `sources`.

        All models of `names` must be complete. The blobs include the old ones of a name that was made again, and those
        of models that an interrupted run pruned.
        """
        manifests = [self.served / LIBRARY / name.replace(":", "/") for name in names]
        kept = [path.read_bytes() for path in manifests if path.is_file()]  # a left-out adapter has no manifest
        needed = {layer["digest"].replace(":", "-") for content in kept for layer in layers_of(content)}
        blobs = [blob for blob in self.blobs.iterdir() if blob.name not in needed]
        return [*blobs, *(folder for folder in self.sources.glob("*") if str(folder) not in sources)]

    def prune(self, names: set[str], sources: set[str]) -> None:
        """Remove all models except `names`, and all blobs that those do not need."""
        for path in self.others(names):
            print("removing {}:{}, which the stack file does not name".format(*path.parts[-2:]), flush=True)
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        for path in self.unneeded(names, sources):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(str(path))
            else:
                path.unlink()


def layers_of(manifest: bytes) -> list[dict[str, Any]]:
    """Return the blobs that a manifest names."""
    content = json.loads(manifest)
    return [content["config"], *content["layers"]]
