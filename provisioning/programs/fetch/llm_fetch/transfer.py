"""Fetch all files of a source into one folder: check the free space first, and verify each file."""

from __future__ import annotations

import concurrent.futures
import errno
import http.client
import re
import shutil
from pathlib import Path

from .errors import FetchError, InterruptedTransferError, RangeRefusedError
from .files import BLOCK_BYTES
from .web import PROXY, in_some_tries, is_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from .files import File

    class Source(Protocol):
        """A source of files."""

        name: str
        """Its name in messages."""

        @property
        def identity(self) -> dict[str, str]:
            """Identity of this content."""

        def files(self, pins: dict[str, str]) -> Sequence[File]:
            """Return all files. Raises FetchError."""

        def open(self, name: str, start: int) -> Any:
            """Return the answer with file `name` from byte `start` on."""


PART = ".part"
AT_ONCE = 4
PROGRESS_S = 2
SPARE_BYTES = 1 << 30
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
GIB = float(1 << 30)
PAGES = (".html", ".htm", ".xml", ".md", ".svg", ".txt", ".jinja")
"""Endings of files that may begin like a web page."""


class Fetch:
    """The fetch of all files into one folder."""

    def __init__(self, source: Source, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._bytes: dict[str, int] = {}
        """Bytes already present, by file; each thread writes to its own key."""

    def run(self, files: Sequence[File]) -> None:
        """Fetch missing files. Raises FetchError for the first file that cannot be fetched."""
        names = {file.name for file in files}
        for each in sorted(names):
            if each + PART in names:
                raise FetchError(f"{self._source.name} has {each} and {each}{PART}; remove the latter from it")
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

    def _check_space(self, files: Sequence[File]) -> None:
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
        failed = f"{file.name} of {self._source.name} could not be fetched: "
        in_some_tries(lambda: self._bring(file, path, failed), failed)

    def _bring(self, file: File, path: Path, failed: str) -> None:
        """Put the file in its place. Raises InterruptedTransferError if another try may help, else FetchError."""
        part = part_of(path)
        try:
            self._transfer(file, part, failed)
        except RangeRefusedError:
            part.unlink()
            raise
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise FetchError(f"cannot write {path} ({error.strerror})") from error
            raise
        problem = file.problem(part)
        if problem:
            part.unlink()
            raise FetchError(failed + problem) if file.pin else InterruptedTransferError(problem)
        part.chmod(0o644)
        part.replace(path)

    def _transfer(self, file: File, part: Path, failed: str) -> None:
        """Append the missing bytes to `part`. A server that cannot resume sends the whole file again."""
        start = size_of(part)
        if start > file.size:
            part.unlink()
            start = 0
        if start == file.size and part.exists():
            return
        with self._source.open(file.name, start) as answer:
            resumes = answer.status == http.client.PARTIAL_CONTENT
            have = start if resumes else 0
            block = answer.read(BLOCK_BYTES)
            if not have and is_page(block) and not file.name.endswith(PAGES):
                raise FetchError(f"{failed}the server sent a web page: {PROXY}")
            self._check_announced(answer, file, part, have + len(block))
            with part.open("ab" if resumes else "wb") as stream:
                while block and have <= file.size:
                    have += len(block)
                    stream.write(block)
                    self._bytes[file.name] = have
                    block = answer.read(BLOCK_BYTES)
        if have > file.size:
            part.unlink()
            raise InterruptedTransferError(f"the server sent more than {file.size} bytes")
        if have != file.size:
            raise InterruptedTransferError(f"the transfer ended after {have} of {file.size} bytes")

    @staticmethod
    def _check_announced(answer: Any, file: File, part: Path, have: int) -> None:
        """Raise InterruptedTransferError if the answer begins at another byte, or announces more than the file's size.

        `have` counts the bytes read so far.
        """
        place = re.match(r"bytes ([0-9]{1,18})-", str(answer.headers.get("Content-Range") or ""))
        if place and int(place[1]) != size_of(part):
            if part.exists():
                part.unlink()
            raise InterruptedTransferError(f"the answer begins at byte {place[1]}, not where the last answer ended")
        announced = have + (getattr(answer, "length", None) or 0)
        if announced > file.size:
            raise InterruptedTransferError(f"the server announces {announced} bytes, not {file.size}")


def part_of(path: Path) -> Path:
    """Return the path of a file until it is complete."""
    return path.with_name(path.name + PART)


def size_of(path: Path) -> int:
    """Return the size of the file in bytes; 0 if it is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
