"""A repository of the Hugging Face hub at a commit. HF_TOKEN is the token of a gated one, HF_ENDPOINT another hub."""

from __future__ import annotations

import fnmatch
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from .errors import FetchError, InterruptedTransferError
from .transfer import BLOCK_BYTES, TRIES, safe_name
from .web import opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

HUB = "https://huggingface.co"
TIMEOUT_S = 60

OTHER_FORMATS = (
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.ot",
    "original/*",
)  # fmt: skip
"""The same weights once more, for other programs; not fetched where there are safetensors."""

NOT_NEEDED = (".gitattributes", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.mp4", "*.pdf", "consolidated*.safetensors")


class File:
    """One file of the repository."""

    def __init__(self, entry: dict[str, Any], pins: dict[str, str]) -> None:
        self.name = safe_name(str(entry["rfilename"]))
        large = entry.get("lfs") or {}
        self.size = int(large.get("size", entry["size"]))
        self.sha256 = str(large.get("sha256", ""))
        self.blob = str(entry.get("blobId", ""))
        self.pin = pins.get(self.name, "")

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


class Hub:
    """The hub at one commit of one repository."""

    def __init__(self, repo: str, revision: str) -> None:
        self.repo = self.name = repo
        self.revision = revision
        self._base = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        self._token = os.environ.get("HF_TOKEN", "")
        self._opener = opener()

    @property
    def identity(self) -> dict[str, str]:
        """What tells this content from any other."""
        return {"repo": self.repo, "revision": self.revision}

    def files(self, pins: dict[str, str]) -> list[File]:
        """Return the files of the commit that an engine reads."""
        reason: Exception | None = None
        for attempt in range(TRIES):
            time.sleep(attempt * attempt)
            try:
                with self._open(f"/api/models/{self.repo}/revision/{self.revision}?blobs=true", 0) as answer:
                    return choose([File(entry, pins) for entry in json.load(answer)["siblings"]])
            except (InterruptedTransferError, OSError, http.client.HTTPException) as error:
                reason = error
        raise FetchError(str(reason))

    def open(self, name: str, start: int) -> Any:
        """Return the answer that holds file `name` from byte `start` on."""
        return self._open(f"/{self.repo}/resolve/{self.revision}/{urllib.parse.quote(name)}", start, name)

    def _open(self, path: str, start: int, name: str = "") -> Any:
        """Return the answer for `path`, which is that of file `name` unless it is the listing."""
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
            raise FetchError(self._refusal(error.code, name)) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise InterruptedTransferError(f"no way to {self._base} ({reason})") from error

    def _refusal(self, code: int, name: str) -> str:
        page = f"{self._base}/{self.repo}"
        if code == http.client.UNAUTHORIZED and not self._token:
            what = f"{self.repo} is gated, private or does not exist"
            return f"{what}; set source.token to a token that may read it, and accept its licence on {page} if it asks"
        if code == http.client.UNAUTHORIZED:
            return f"the hub does not know the token, or there is no {self.repo}; make a new read token"
        if code == http.client.FORBIDDEN:
            return f"the token may not read {self.repo}; accept its licence on {page} with the token's account"
        if code == http.client.NOT_FOUND:
            missing = f"{name} at commit" if name else "commit"
            return f"{self.repo} has no {missing} {self.revision}; look up repository and commit on the hub"
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
