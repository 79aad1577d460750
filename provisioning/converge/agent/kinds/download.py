"""A file from a URL with a known SHA-256; an interrupted download continues where it stopped."""

from __future__ import annotations

import hashlib
import os
import time

from ..events import Cut, Failure
from ..paths import STAGED, free_mib, in_the_way, look_at, os_failure, plan_metadata, remove, set_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

TRIES = 4
PAUSE_S = 2
READ_TIMEOUT_S = 30
BLOCK_BYTES = 1 << 20
HTTP_PARTIAL = 206
HTTP_RANGE_WRONG = 416


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:
    """Read metadata and hash."""
    return lambda: [_look_one(resource, host) for resource in resources]


def _look_one(resource: Any, host: Host) -> Fact:
    fact = look_at(resource.path)
    if fact["type"] == "file":
        fact["sha256"] = host.state.sha256(resource.path)
    return fact


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return whether to fetch the file, and changes of metadata."""
    if fact["type"] not in ("absent", "file", "link"):
        return [in_the_way(fact)]
    if fact.get("sha256") != resource.sha256:
        return [("fetch", f"fetch {resource.url}")]
    return plan_metadata(resource, fact)


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Fetch into a hidden file named after the hash; rename it only if its content has that hash."""
    if changes[0][0] != "fetch":
        set_metadata(resource.path, resource.owner, resource.group, resource.mode)
        return
    folder, name = os.path.split(resource.path)
    os.makedirs(folder, exist_ok=True)
    staged = os.path.join(folder, f".{name}.{resource.sha256[:12]}{STAGED}")
    try:
        digest = _fetch(resource, staged, host)
        if digest != resource.sha256:
            remove(staged)
            raise Failure(
                f"{resource.url} has SHA-256 {digest}, expected {resource.sha256}; the file was not installed"
            )
        set_metadata(staged, resource.owner, resource.group, resource.mode)
        os.replace(staged, resource.path)
    except OSError as error:
        remove(staged)
        raise os_failure(error, resource.path) from error


def _fetch(resource: Any, staged: str, host: Host) -> str:
    """Fetch the file in up to TRIES tries; return its hash."""
    from http.client import HTTPException

    for attempt in range(1, TRIES + 1):
        try:
            return _try(resource, staged, host)
        except _Interrupted as error:
            if attempt == TRIES:
                raise Failure(f"{resource.url}: {error} (tried {TRIES} times)") from error
            host.events.progress(resource.id, f"{error}; trying again")
            time.sleep(PAUSE_S)
        except HTTPException as error:
            raise Failure(f"{resource.url}: {error!r}") from error
    raise AssertionError("the last try returns or raises")


class _Interrupted(Exception):
    """The server or the network failed; another try may succeed."""


def _try(resource: Any, staged: str, host: Host) -> str:
    """Fetch the missing part of `staged`; return the hash of the whole file."""
    with open(os.open(staged, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as stream:
        digest = hashlib.sha256()
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            digest.update(block)
        answer = _ask(resource, host, stream.tell())
        if answer is None:  # complete: an earlier run was interrupted before the rename
            return digest.hexdigest()
        with answer:
            return _receive(resource, host, answer, stream, digest)


def _ask(resource: Any, host: Host, have: int) -> Any:
    """Return the server's answer from byte `have` on; None if there are no more bytes."""
    from urllib.error import HTTPError
    from urllib.request import Request

    local = host.blobs.path(resource.sha256)  # a bundle contains the file
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = Request(f"file://{local}" if local else resource.url, headers=headers)  # noqa: S310 (the list is ours, and the hash decides)
    try:
        return _opener().open(request, timeout=READ_TIMEOUT_S)
    except HTTPError as error:
        if error.code == HTTP_RANGE_WRONG:
            return None
        if error.code in (408, 429) or error.code >= 500:  # noqa: PLR2004
            raise _Interrupted(f"HTTP {error.code}") from error
        raise Failure(f"{resource.url}: HTTP {error.code} {error.reason}") from error
    except OSError as error:
        raise _Interrupted(str(getattr(error, "reason", error))) from error


def _opener() -> Any:
    """Return an opener that follows redirects with 308 too, which urllib follows only from Python 3.11 on."""
    from urllib.request import HTTPRedirectHandler, build_opener

    class Redirect(HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, *words: Any) -> Any:
            return super().redirect_request(req, fp, 307 if code == 308 else code, *words)  # noqa: PLR2004

        http_error_308 = HTTPRedirectHandler.http_error_302

    return build_opener(Redirect)


def _receive(resource: Any, host: Host, answer: Any, stream: BinaryIO, digest: Any) -> str:
    """Append the answer to the stream, whose content `digest` already covers. Return the hash of the whole file."""
    from http.client import IncompleteRead

    have = stream.tell()
    if have and answer.status != HTTP_PARTIAL:  # the server starts from the beginning, so the file must too
        have, digest = 0, hashlib.sha256()
        stream.seek(0)
        stream.truncate()
    total = have + int(answer.headers.get("Content-Length") or 0)
    if (total - have) >> 20 >= free_mib(resource.path):
        raise Failure(f"needs {(total - have) >> 20} MiB at {resource.path}, which has {free_mib(resource.path)} free")
    while True:
        try:
            block = answer.read(BLOCK_BYTES)
        except (OSError, IncompleteRead) as error:
            raise _Interrupted(f"interrupted at {have >> 20} MiB") from error
        if not block:
            break
        stream.write(block)
        digest.update(block)
        have += len(block)
        _tell(resource, host, have, total)
    if have < total:
        raise _Interrupted(f"interrupted at {have} of {total} bytes")
    return str(digest.hexdigest())


def _tell(resource: Any, host: Host, have: int, total: int) -> None:
    if host.events.controller_gone():
        raise Cut()
    host.events.progress(resource.id, f"{have >> 20} of {total >> 20} MiB", have / total if total else None)
