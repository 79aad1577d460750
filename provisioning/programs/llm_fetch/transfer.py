"""The fetch of all files of a source into one folder: space is looked at first, and each file is checked."""

from __future__ import annotations

import concurrent.futures
import errno
import http.client
import shutil
import time
from pathlib import Path

from .errors import FetchError, InterruptedTransferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class File(Protocol):
        """One file of a source."""

        name: str
        size: int
        pin: str
        """SHA-256 that the stack file pins; empty: none."""

        def problem(self, path: Path) -> str:
            """Return what is wrong with the content of `path`; empty when it is this file."""

    class Source(Protocol):
        """Where files come from."""

        name: str
        """As messages call it."""

        @property
        def identity(self) -> dict[str, str]:
            """What tells this content from any other."""

        def files(self, pins: dict[str, str]) -> list[Any]:
            """Return all files. Raises FetchError."""

        def open(self, name: str, start: int) -> Any:
            """Return the answer that holds file `name` from byte `start` on."""


PART = ".part"
BLOCK_BYTES = 1 << 20
AT_ONCE = 4
TRIES = 5
PROGRESS_S = 2
SPARE_BYTES = 1 << 30
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
GIB = float(1 << 30)


def safe_name(name: str) -> str:
    """Return `name`. Raises FetchError when it leads out of the folder."""
    if not name or any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
        raise FetchError(f"the source has a file with the name {name!r}, which leads elsewhere")
    return name


class Fetch:
    """The fetch of all files into one folder."""

    def __init__(self, source: Source, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._bytes: dict[str, int] = {}
        """Bytes that are here, by file; each thread writes to its own key."""

    def run(self, files: list[Any]) -> None:
        """Fetch what is missing. Raises FetchError for the first file that cannot be had."""
        self._check_space(files)
        total = sum(file.size for file in files)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            running = {pool.submit(self._one, file) for file in sorted(files, key=lambda file: -file.size)}
            try:
                while running:
                    done, running = concurrent.futures.wait(running, PROGRESS_S, concurrent.futures.FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    have = sum(self._bytes.values())
                    print(f"{have / GIB:.2f} of {total / GIB:.2f} GiB of {self._source.name}", flush=True)
            except BaseException:
                for future in running:
                    future.cancel()
                raise

    def _check_space(self, files: list[Any]) -> None:
        have = sum(size_of(self._folder / file.name) + size_of(part_of(self._folder / file.name)) for file in files)
        needed = sum(file.size for file in files) - have
        free = shutil.disk_usage(self._folder).free
        if needed > 0 and needed + SPARE_BYTES > free:
            raise FetchError(
                f"{self._source.name} needs {needed / GIB:.1f} GiB more in {self._folder} and {free / GIB:.1f} are "
                "free; give the host a larger disk"
            )

    def _one(self, file: File) -> None:
        path = self._folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if size_of(path) == file.size and path.exists() and not file.problem(path):
            self._bytes[file.name] = file.size
            return
        reason = ""
        for attempt in range(TRIES):
            time.sleep(attempt * attempt)
            try:
                self._transfer(file, part_of(path))
            except (InterruptedTransferError, OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise FetchError(f"cannot write {path} ({error.strerror})") from error
                reason = str(error)
                continue
            reason = file.problem(part_of(path))
            if not reason:
                part_of(path).chmod(0o644)
                part_of(path).replace(path)
                return
            part_of(path).unlink()
            if file.pin:
                break
        raise FetchError(f"{file.name} of {self._source.name} could not be fetched: {reason}")

    def _transfer(self, file: File, part: Path) -> None:
        """Append what is missing to `part`. A server that cannot go on in the middle sends all again."""
        start = size_of(part)
        if start > file.size:
            part.unlink()
            start = 0
        if start == file.size and part.exists():
            return
        with self._source.open(file.name, start) as answer:
            resumes = answer.status == http.client.PARTIAL_CONTENT
            have = start if resumes else 0
            with part.open("ab" if resumes else "wb") as stream:
                for block in iter(lambda: answer.read(BLOCK_BYTES), b""):
                    stream.write(block)
                    have += len(block)
                    self._bytes[file.name] = have
        if have != file.size:
            raise InterruptedTransferError(f"the transfer ended after {have} of {file.size} bytes")


def part_of(path: Path) -> Path:
    """Return where a file lies until it is whole."""
    return path.with_name(path.name + PART)


def size_of(path: Path) -> int:
    """Return the bytes of the file; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
