#!/usr/bin/env python3
"""Fetch a repository of the Hugging Face hub at a commit, and check every file against the hub's checksums.

    fetch-model REPO REVISION FOLDER [NAME=SHA256…] [--check]

A fetch that was cut off goes on where it stopped. HF_TOKEN is the token of a gated repository, HF_ENDPOINT another hub.
NAME=SHA256 pins a file beyond what the hub says. With --check nothing is fetched: exits 0 when FOLDER is whole.
"""

from __future__ import annotations

import concurrent.futures
import errno
import fnmatch
import hashlib
import http.client
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HUB = "https://huggingface.co"
MARKER = ".llm-deploy.json"
PART = ".part"
BLOCK_BYTES = 1 << 20
AT_ONCE = 4
TRIES = 5
TIMEOUT_S = 60
PROGRESS_S = 2
SPARE_BYTES = 1 << 30
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
GIB = float(1 << 30)

OTHER_FORMATS = (
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.ot",
    "original/*",
)  # fmt: skip
"""The same weights once more, for other programs; not fetched where there are safetensors."""

NOT_NEEDED = (".gitattributes", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.mp4", "*.pdf", "consolidated*.safetensors")


class FetchError(Exception):
    """What the person who reads the log can mend."""


class InterruptedTransferError(Exception):
    """A transfer that may work when it is tried again."""


class File:
    """One file of the repository."""

    def __init__(self, entry: dict[str, Any], pins: dict[str, str]) -> None:
        self.name = str(entry["rfilename"])
        large = entry.get("lfs") or {}
        self.size = int(large.get("size", entry["size"]))
        self.sha256 = str(large.get("sha256", ""))
        self.blob = str(entry.get("blobId", ""))
        self.pin = pins.get(self.name, "")
        parts = self.name.split("/")
        if not self.name or any(part in ("", ".", "..") for part in parts) or "\\" in self.name:
            raise FetchError(f"the repository has a file with the name {self.name!r}, which leads elsewhere")

    def problem(self, path: Path) -> str:
        """Return what is wrong with the content of `path`; empty when it is this file."""
        sha256 = hashlib.sha256()
        blob = hashlib.sha1(b"blob %d\0" % self.size)  # noqa: S324  # what git calls the file
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
                sha256.update(block)
                if not self.sha256:
                    blob.update(block)
        if self.pin and sha256.hexdigest() != self.pin:
            return f"its SHA-256 is {sha256.hexdigest()}, not {self.pin}, which the stack file pins"
        if self.sha256:
            return "" if sha256.hexdigest() == self.sha256 else "its SHA-256 is not the one that the hub gives"
        return "" if blob.hexdigest() == self.blob else "its checksum is not the one that the hub gives"


class Redirect(urllib.request.HTTPRedirectHandler):
    """Keeps the token from the storage servers that the hub sends us to."""

    def redirect_request(  # noqa: PLR0917  # urllib's own
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> Any:
        """Return the request to `newurl`, with the token only if it goes to the same server."""
        again = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if again is not None and token and urllib.parse.urlsplit(newurl)[:2] == urllib.parse.urlsplit(req.full_url)[:2]:
            again.add_unredirected_header("Authorization", token)
        return again


class Hub:
    """The hub at one commit of one repository."""

    def __init__(self, repo: str, revision: str) -> None:
        self.repo = repo
        self.revision = revision
        self._base = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        self._token = os.environ.get("HF_TOKEN", "")
        self._opener = urllib.request.build_opener(Redirect())

    def files(self, pins: dict[str, str]) -> list[File]:
        """Return all files of the commit."""
        reason: Exception | None = None
        for attempt in range(TRIES):
            time.sleep(attempt * attempt)
            try:
                with self._open(f"/api/models/{self.repo}/revision/{self.revision}?blobs=true", 0) as answer:
                    return [File(entry, pins) for entry in json.load(answer)["siblings"]]
            except (InterruptedTransferError, OSError, http.client.HTTPException) as error:
                reason = error
        raise FetchError(str(reason))

    def open(self, name: str, start: int) -> Any:
        """Return the answer that holds file `name` from byte `start` on."""
        return self._open(f"/{self.repo}/resolve/{self.revision}/{urllib.parse.quote(name)}", start)

    def _open(self, path: str, start: int) -> Any:
        request = urllib.request.Request(self._base + path)  # noqa: S310  # the hub, or what HF_ENDPOINT names
        if self._token:
            request.add_unredirected_header("Authorization", "Bearer " + self._token)
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            return self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code == http.client.TOO_MANY_REQUESTS:
                raise InterruptedTransferError(f"the hub answers {error.code}") from error
            raise FetchError(self._refusal(error.code)) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise InterruptedTransferError(f"no way to {self._base} ({reason})") from error

    def _refusal(self, code: int) -> str:
        if code == http.client.UNAUTHORIZED and not self._token:
            return f"{self.repo} is gated, private or does not exist; set source.token to a token that may read it"
        if code == http.client.UNAUTHORIZED:
            return f"the hub does not know the token, or there is no {self.repo}; make a new read token"
        if code == http.client.FORBIDDEN:
            page = f"{self._base}/{self.repo}"
            return f"the token may not read {self.repo}; accept its licence on {page} with the token's account"
        if code == http.client.NOT_FOUND:
            return f"{self.repo} has no commit {self.revision}; look up repository and commit on the hub"
        return f"the hub answers {code}"


def choose(files: Iterable[File]) -> list[File]:
    """Return the files that an engine reads: one format of the weights, no pictures."""

    def is_like(name: str, patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    files = list(files)
    wanted = [file for file in files if not is_like(file.name, NOT_NEEDED)]
    if any(file.name.endswith(".safetensors") for file in wanted):
        return [file for file in wanted if not is_like(file.name, OTHER_FORMATS)]
    return files


class Fetch:
    """The fetch of all files into one folder."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self._bytes: dict[str, int] = {}
        """Bytes that are here, by file; each thread writes to its own key."""

    def run(self, files: list[File]) -> None:
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
                    print(f"{have / GIB:.2f} of {total / GIB:.2f} GiB of {self._hub.repo}", flush=True)
            except BaseException:
                for future in running:
                    future.cancel()
                raise

    def _check_space(self, files: list[File]) -> None:
        have = sum(_size(self._folder / file.name) + _size(_part(self._folder / file.name)) for file in files)
        needed = sum(file.size for file in files) - have
        free = shutil.disk_usage(self._folder).free
        if needed > 0 and needed + SPARE_BYTES > free:
            raise FetchError(
                f"{self._hub.repo} needs {needed / GIB:.1f} GiB more in {self._folder} and {free / GIB:.1f} are free; "
                "give the host a larger disk"
            )

    def _one(self, file: File) -> None:
        path = self._folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if _size(path) == file.size and path.exists() and not file.problem(path):
            self._bytes[file.name] = file.size
            return
        reason = ""
        for attempt in range(TRIES):
            time.sleep(attempt * attempt)
            try:
                self._transfer(file, _part(path))
            except (InterruptedTransferError, OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise FetchError(f"cannot write {path} ({error.strerror})") from error
                reason = str(error)
                continue
            reason = file.problem(_part(path))
            if not reason:
                _part(path).chmod(0o644)
                _part(path).replace(path)
                return
            _part(path).unlink()
            if file.pin:
                break
        raise FetchError(f"{file.name} of {self._hub.repo} could not be fetched: {reason}")

    def _transfer(self, file: File, part: Path) -> None:
        """Append what is missing to `part`. A server that cannot go on in the middle sends all again."""
        start = _size(part)
        if start > file.size:
            part.unlink()
            start = 0
        if start == file.size and part.exists():
            return
        with self._hub.open(file.name, start) as answer:
            resumes = answer.status == http.client.PARTIAL_CONTENT
            have = start if resumes else 0
            with part.open("ab" if resumes else "wb") as stream:
                for block in iter(lambda: answer.read(BLOCK_BYTES), b""):
                    stream.write(block)
                    have += len(block)
                    self._bytes[file.name] = have
        if have != file.size:
            raise InterruptedTransferError(f"the transfer ended after {have} of {file.size} bytes")


def _part(path: Path) -> Path:
    """Return where a file lies until it is whole."""
    return path.with_name(path.name + PART)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_whole(folder: Path, repo: str, revision: str, pins: dict[str, str]) -> bool:
    """Return whether an earlier run fetched and checked all of this, and no file changed its size since."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    asked = {"repo": repo, "revision": revision, "pins": pins}
    return all(marker.get(key) == value for key, value in asked.items()) and all(
        _size(folder / name) == size and (folder / name).exists() for name, size in marker["files"].items()
    )


def fetch(folder: Path, repo: str, revision: str, pins: dict[str, str]) -> None:
    """Make `folder` whole, and say so in its marker. Raises FetchError."""
    hub = Hub(repo, revision)
    folder.mkdir(parents=True, exist_ok=True)
    files = choose(hub.files(pins))
    unknown = sorted(set(pins) - {file.name for file in files})
    if unknown:
        raise FetchError(f"{repo} has no file {unknown[0]}, for which a checksum is pinned")
    Fetch(hub, folder).run(files)
    marker = {"repo": repo, "revision": revision, "pins": pins, "files": {file.name: file.size for file in files}}
    _part(folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    _part(folder / MARKER).replace(folder / MARKER)


def main(repo: str, revision: str, folder: str, *rest: str) -> int:
    """Fetch or check; return the exit status."""
    pins = dict(word.split("=", 1) for word in rest if word != "--check")
    if "--check" in rest:
        return 0 if is_whole(Path(folder), repo, revision, pins) else 1
    os.umask(0o022)
    try:
        fetch(Path(folder), repo, revision, pins)
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
