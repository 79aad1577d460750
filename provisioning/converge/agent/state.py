"""The agent's files on the host between runs: the lock, due restarts, hashes, immutable trees."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time

from .events import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATE_DIR = "/var/lib/llm-deploy"
MEMO_MIN_BYTES = 1 << 20
READ_BYTES = 1 << 20

LOCK_WAIT_S = 5.0
"""How long to wait for the lock: a run that lost its controller finishes its current step and ends."""

LOCK_TICK_S = 0.1


class State:
    """The state folder. Without `writes`, as in a dry run, it is only read."""

    def __init__(self, folder: str = STATE_DIR, *, writes: bool) -> None:
        self._folder = folder
        self._writes = writes
        self._due: dict[str, str] = {}
        self._hashes: dict[str, list[Any]] = {}
        self._hashes_new = False
        self._brought: dict[str, str] = {}
        self._lock = -1

    def open(self, by: str) -> None:
        """Take the lock and read the state of previous runs. Raises Failure if another run keeps the lock."""
        if self._writes:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._take_lock(by)
        self._due = self._read("due.json")
        self._hashes = self._read("hashes.json")
        self._brought = self._read("brought.json")

    def _take_lock(self, by: str) -> None:
        """Hold an flock until the process ends. The kernel releases it with the process, so it is never stale."""
        self._lock = os.open(os.path.join(self._folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + LOCK_WAIT_S
        while not self._has_lock():
            if time.monotonic() > end:
                holder = os.pread(self._lock, 4096, 0).decode(errors="replace").strip() or "another run"
                hint = (
                    "wait and run the same command again: it continues from there (an interrupted run ends "
                    "after its current step)"
                )
                raise Failure(f"another provision is under way: {holder}; {hint}")
            time.sleep(LOCK_TICK_S)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"started by {by} at {since}, process {os.getpid()} on the host\n".encode(), 0)

    def _has_lock(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def due(self, unit: str) -> str:
        """Return what `unit` still needs because of a change: `restart`, `reload` or an empty string."""
        return self._due.get(unit, "")

    def set_due(self, wanted: dict[str, str]) -> None:
        """Record before a change what units will need; a restart includes a reload. An empty string means nothing."""
        before = dict(self._due)
        for unit, action in wanted.items():
            if not action:
                self._due.pop(unit, None)
            elif self._due.get(unit) != "restart":
                self._due[unit] = action
        if self._due != before:
            self._write("due.json", self._due)

    def sha256(self, path: str) -> str:
        """Return the hash of a file; a large file is read again only if its size, times or inode changed."""
        seen = os.stat(path)
        stamp = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
        known = self._hashes.get(path)
        if known and known[1:] == stamp:
            return str(known[0])
        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(READ_BYTES), b""):
                digest.update(block)
        if seen.st_size >= MEMO_MIN_BYTES:
            self._hashes[path] = [digest.hexdigest(), *stamp]
            self._hashes_new = True
        return digest.hexdigest()

    def brought(self, path: str) -> str:
        """Return the digest of the immutable tree at `path`; an empty string if there is none."""
        return self._brought.get(path, "")

    def note_brought(self, path: str, digest: str) -> None:
        """Record that the tree with this digest is complete at `path` and immutable."""
        if self._brought.get(path) != digest:
            self._brought[path] = digest
            self._write("brought.json", self._brought)

    def close(self) -> None:
        """Write the hashes that this run has computed."""
        if self._hashes_new:
            self._write("hashes.json", {path: entry for path, entry in self._hashes.items() if os.path.exists(path)})

    def _read(self, name: str) -> dict[str, Any]:
        try:
            with open(os.path.join(self._folder, name), encoding="utf-8") as stream:
                content = json.load(stream)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        if not self._writes:
            return
        path = os.path.join(self._folder, name)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            json.dump(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(path + ".new", path)
