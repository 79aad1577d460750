"""The content of large files: requested from the controller when needed, or read from a folder.

A request names SHA-256, offset and length, so that an interrupted file continues where it stopped. A few requests are
in flight at once, so that a distant controller does not cost a round trip per file. The caller checks the hashes.
"""

from __future__ import annotations

import json
import os
from collections import deque

from .events import Cut, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Callable, Iterator, Sequence

    from .events import Events

    Wanted = tuple[str, int, int]
    """SHA-256, offset and size of a blob: the caller needs the bytes from `offset` to `size`."""
    Take = Callable[[int, bytes], None]
    """Called with the index of a blob and its next bytes; with empty bytes at the blob's end."""

PIECE_BYTES = 8 << 20
WINDOW_BYTES = 32 << 20
WINDOW_PIECES = 64
BLOCK_BYTES = 1 << 20


class WireBlobs:
    """Blobs from the controller. It answers each request with a JSON line, `length` or `error`, then the raw bytes."""

    def __init__(self, events: Events, stream: BinaryIO) -> None:
        self._events = events
        self._stream = stream

    def path(self, sha256: str) -> str:  # noqa: ARG002
        """Return None: a connected host downloads from the URL itself."""
        return ""

    def copy(self, wanted: Sequence[Wanted], take: Take) -> None:
        """Pass all bytes of all blobs to `take`, in order. After a failure, still read all requested bytes."""
        pieces = _pieces(wanted)
        under_way: deque[tuple[int, str, int, int]] = deque()
        try:
            while True:
                self._ask(pieces, under_way)
                if not under_way:
                    return
                index, _, offset, length = under_way.popleft()
                for block in self._answer(length):
                    take(index, block)
                if offset + length == wanted[index][2]:
                    take(index, b"")
        except BaseException:
            for *_, length in under_way:
                self._drain(length)
            raise
        finally:
            self._events.answers_due = 0

    def _ask(self, pieces: Iterator[tuple[int, str, int, int]], under_way: deque[tuple[int, str, int, int]]) -> None:
        wanted = []
        while len(under_way) < WINDOW_PIECES and sum(piece[3] for piece in under_way) < WINDOW_BYTES:
            piece = next(pieces, None)
            if piece is None:
                break
            under_way.append(piece)
            wanted.append(piece[1:])
        self._events.answers_due = len(under_way)
        if wanted:
            self._events.emit("need", pieces=wanted)

    def _answer(self, length: int) -> Iterator[bytes]:
        header = self._stream.readline()
        if not header:
            self._events.cut = True
            raise Cut()
        answer = json.loads(header)
        if "error" in answer:
            raise Failure(answer["error"])
        left = length
        try:
            while left:
                block = self._stream.read(min(left, BLOCK_BYTES))
                if not block:
                    self._events.cut = True
                    raise Cut()
                left -= len(block)
                yield block
        finally:
            while left and not self._events.cut:
                left -= len(self._stream.read(min(left, BLOCK_BYTES))) or left

    def _drain(self, length: int) -> None:
        try:
            for _ in self._answer(length):
                pass
        except (Failure, Cut):
            return


class FolderBlobs:
    """Blobs from a folder in which each file is named after its SHA-256."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    def path(self, sha256: str) -> str:
        """Return the path of a blob, which may be the content of a download; None if the folder lacks it."""
        path = os.path.join(self._folder or "/nonexistent", sha256)
        return path if os.path.exists(path) else ""

    def copy(self, wanted: Sequence[Wanted], take: Take) -> None:
        """Pass all bytes of all blobs to `take`, in order."""
        for index, (sha256, offset, _size) in enumerate(wanted):
            if self._folder is None:
                raise Failure(f"blob {sha256} is needed; pass the folder that holds it with --blobs")
            try:
                with open(os.path.join(self._folder, sha256), "rb") as stream:
                    stream.seek(offset)
                    for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
                        take(index, block)
            except FileNotFoundError as error:
                raise Failure(f"blob {sha256} is not in {self._folder}") from error
            take(index, b"")


def _pieces(wanted: Sequence[Wanted]) -> Iterator[tuple[int, str, int, int]]:
    """Yield (index, sha256, offset, length); a blob that is complete still has one piece of length 0."""
    for index, (sha256, start, size) in enumerate(wanted):
        for offset in range(start, max(size, start + 1), PIECE_BYTES):
            yield index, sha256, offset, min(PIECE_BYTES, size - offset)
