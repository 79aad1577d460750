"""The command: see fetch_model.py."""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path

from .adapter import check_adapter
from .errors import FetchError, InterruptedTransferError
from .hub import Hub
from .json_text import MAX_CONFIG_BYTES
from .listed import Listed
from .model import check_model, too_short
from .registry import SCHEME, Registry
from .tensors import Folder, heads_of
from .transfer import Fetch, part_of, size_of
from .web import content_of, said_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .transfer import Source

MARKER = ".llm-deploy.json"


def source_of(place: str, pin: str, endpoint: str = "") -> Source:
    """Return the source at `place`: a model of a registry, a URL with the checksum of its list, or a repository.

    `endpoint` is a mirror of the hub.
    """
    if place.startswith(SCHEME):
        return Registry(place, pin)
    return Listed(place, pin) if "://" in place else Hub(place, pin, endpoint)


def marker_of(folder: Path) -> dict[str, Any]:
    """Return the marker of an earlier complete run; empty for a folder that was never complete."""
    try:
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker


def is_whole(folder: Path, source: Source, pins: dict[str, str]) -> bool:
    """Return whether an earlier run fetched and checked everything, and no file has changed its size since."""
    marker = marker_of(folder)
    if not marker:
        return False
    asked = {**source.identity, "pins": pins}
    return all(marker.get(key) == value for key, value in asked.items()) and all(
        size_of(folder / name) == size and (folder / name).exists() for name, size in marker["files"].items()
    )


def refuse_others(folder: Path, source: Source) -> None:
    """Raise FetchError if `folder` is complete from another source or commit."""
    marker = marker_of(folder)
    if marker and any(marker.get(key) != value for key, value in source.identity.items()):
        raise FetchError(f"{folder} holds other files, and an immutable tree does not change; raise the version")


def refuse_too_short(folder: Path, source: Source, context_tokens: int) -> None:
    """Raise FetchError if the model in `folder` does not accept texts of `context_tokens`; 0: not compared.

    A fetch cannot change that. So this also prints the line with which the agent fails the resource without a fetch:
    after a failed fetch, a restart of the engine would remain due.
    """
    problem = too_short(Folder(folder), source.name, context_tokens) if context_tokens else ""
    if problem:
        print(f"planned: fail: {problem}")
        raise FetchError(problem)


def fetch(folder: Path, source: Source, pins: dict[str, str], context_tokens: int = 0, engine: str = "") -> None:
    """Complete `folder`, then write its marker. Raises FetchError.

    With `context_tokens` the files must be a complete model that accepts texts of that length and that `engine` reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = source.files(pins)
    if not files:
        raise FetchError(f"{source.name} has no file that an engine reads; name the repository of a model or adapter")
    if context_tokens:
        check_model(source, files, context_tokens, engine)
    unknown = sorted(set(pins) - {file.name for file in files})
    if unknown:
        raise FetchError(f"{source.name} has no file {unknown[0]}, for which a checksum is pinned")
    Fetch(source, folder).run(files)
    marker = {**source.identity, "pins": pins, "files": {file.name: file.size for file in files}}
    part_of(folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    part_of(folder / MARKER).replace(folder / MARKER)


def show(source: Source, name: str) -> None:
    """Print the checksums of all files, the content of one of them, and tensors, as JSON. Writes no file."""
    files = {file.name: file.sha256 for file in source.files({})}
    content = ""
    if name in files:
        read = content_of(lambda: source.open(name, 0), MAX_CONFIG_BYTES, f"{source.name}: ")
        content = read.decode("utf-8", "replace")
    print(json.dumps({"files": files, "content": content, "tensors": heads_of(source, files)}))


def main(place: str, pin: str, folder: str, *rest: str) -> int:
    """Fetch, check or show; return the exit status."""
    pins = dict(word.split("=", 1) for word in rest if "=" in word and not word.startswith("--"))
    limits = dict(word[2:].split("=", 1) for word in rest if "=" in word and word.startswith("--"))
    immutable = limits.pop("immutable", "") == "yes"
    context_tokens = int(limits.pop("context-tokens", "0"))
    engine = limits.pop("engine", "") if context_tokens else ""  # without context_tokens it is an adapter
    try:
        source = source_of(place, pin, limits.pop("endpoint", ""))
        if folder == "--show":
            said_to[0] = sys.stderr
            show(source, rest[0])
            return 0
        if "--check" in rest:
            if not is_whole(Path(folder), source, pins):
                return 1
            # The stack's limits may have changed since.
            check_adapter(Folder(Path(folder)), limits)
            refuse_too_short(Path(folder), source, context_tokens)
            return 0
        os.umask(0o022)
        if immutable:
            refuse_others(Path(folder), source)
        check_adapter(source, limits)
        fetch(Path(folder), source, pins, context_tokens, engine)
    except (FetchError, InterruptedTransferError) as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:  # an interrupted answer, or a disk error
        print(f"{place}: {error}", file=sys.stderr)
        return 1
    return 0
