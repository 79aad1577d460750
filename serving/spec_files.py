"""Whether the files that a spec names are there and say the same as the spec. Reads this computer's disk only."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.paths import CHECKOUT
from core.rules import Problem
from serving.spec import AdapterSpec, FolderSource, GatewaySpec, ServingSpec, TlsFiles

MODEL_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"

OTHERS = 0o077
"""Permissions that a private key gives nobody."""


def full_path(path: Path) -> Path:
    """Return the path that a config means: `~` is the home folder, relative paths start at the checkout."""
    return CHECKOUT / path.expanduser()


def files_of_serving(spec: ServingSpec) -> Iterator[Problem]:
    """Yield what is wrong with the folders of the model and the adapters."""
    if isinstance(spec.model.source, FolderSource):
        yield from _folder_has(spec.model.source, MODEL_FILE, "model.source.path")
    for index, adapter in enumerate(spec.adapters):
        if isinstance(adapter.source, FolderSource):
            problems = list(_folder_has(adapter.source, ADAPTER_FILE, f"adapters[{index}].source.path"))
            yield from problems or _says_the_same(adapter, full_path(adapter.source.path), f"adapters[{index}]")


def files_of_gateway(gateway: GatewaySpec) -> Iterator[Problem]:
    """Yield what is wrong with the files of the gateway's certificate."""
    if isinstance(gateway.tls, TlsFiles):
        for name in ("certificate", "key", "ca"):
            path = getattr(gateway.tls, name)
            if path is not None:
                yield from file_is_there(path, f"tls.{name}", private=name == "key")


def file_is_there(path: Path, key: str, *, private: bool = False) -> Iterator[Problem]:
    """Yield a problem unless `path` is a file, and if `private` one that its owner alone can read."""
    if not full_path(path).is_file():
        yield Problem(key, f"there is no file {path}", "relative paths start at the checkout")
    elif private and full_path(path).stat().st_mode & OTHERS:
        yield Problem(key, f"others on this computer can read {path}", f"run chmod 600 {path}")


def _folder_has(source: FolderSource, name: str, key: str) -> Iterator[Problem]:
    """Yield a problem unless the folder is there and holds the file `name`."""
    folder = full_path(source.path)
    if not folder.is_dir():
        yield Problem(key, f"there is no folder {source.path}", "relative paths start at the checkout")
    elif not (folder / name).is_file():
        yield Problem(key, f"{source.path} has no {name}", f"name the folder that holds {name} and the weights")


def _says_the_same(adapter: AdapterSpec, folder: Path, key: str) -> Iterator[Problem]:
    """Yield a problem unless the adapter's own config has the rank that the spec says."""
    try:
        own: Any = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
    except ValueError:
        own = None
    rank = own.get("r") if isinstance(own, dict) else None
    if not isinstance(rank, int):
        yield Problem(f"{key}.source.path", f"its {ADAPTER_FILE} names no rank", "export the adapter again")
    elif rank != adapter.rank:
        yield Problem(f"{key}.rank", f"{adapter.rank} is not the {rank} of its {ADAPTER_FILE}", f"write {rank}")
