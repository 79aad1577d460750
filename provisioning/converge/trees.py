"""The files of a local folder with their hashes; a large file is read again only if it changed."""

import hashlib
import json
import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from core.errors import ConfigError
from core.files import write_atomically
from core.paths import cache_dir
from core.reading.regular_files import files_below, open_regular
from core.reading.strict_json import parse_object

MEMO_MIN_BYTES = 1 << 20

LINKED = ("gguf", "grafana")
"""Folders of the cache with links to files that the user named (core.files.only_link)."""


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """One file of a tree."""

    name: str
    """Relative path with `/`."""
    path: Path
    """The path of its content, with all links resolved."""
    sha256: str
    size: int
    mode: int
    """0o755 for an executable file, else 0o644."""


def list_tree(source: Path) -> list[TreeFile]:
    """Return all files below `source` except hidden ones; links are followed, because hubs' caches consist of them.

    Raises ConfigError if the folder is missing or empty, or contains a link out of it, a broken link, a pipe or a
    device.
    """
    is_ours = any(source.is_relative_to(cache_dir() / name) for name in LINKED)
    names = sorted(files_below(source, links_out=is_ours)) if source.is_dir() else []
    if not names:
        raise ConfigError("is not a folder with files", where=str(source), hint="name an existing folder")
    memo = _Memo(cache_dir() / "hashes.json")
    files = []
    for name in names:
        path = source / name
        try:
            with open_regular(path, within=None if is_ours else source) as stream:
                seen = os.fstat(stream.fileno())
                sha256 = memo.sha256(path, seen, stream)
        except OSError as error:
            hint = "let your user read it, or move it out of the folder"
            raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from error
        mode = 0o755 if seen.st_mode & 0o100 else 0o644
        files.append(TreeFile(name=name, path=path.resolve(), sha256=sha256, size=seen.st_size, mode=mode))
    memo.save()
    return files


def tree_digest(source: Path) -> str:
    """Return the SHA-256 over names and contents of the files that `list_tree` returns."""
    content = {file.name: file.sha256 for file in list_tree(source)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class _Memo:
    """Hashes by path, valid while size, times and inode are unchanged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            self._known: dict[str, list[str | int]] = parse_object(path.read_bytes())
        except (OSError, ValueError):
            self._known = {}

    def sha256(self, path: Path, seen: os.stat_result, stream: BufferedReader) -> str:
        stamp: list[str | int] = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
        key = str(path.resolve())
        known = self._known.get(key)
        if isinstance(known, list) and known[1:] == stamp:
            return str(known[0])
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if seen.st_size >= MEMO_MIN_BYTES:
            self._known[key] = [digest, *stamp]
            self._changed = True
        return digest

    def save(self) -> None:
        if self._changed:
            write_atomically(self._path, json.dumps(self._known))
