"""A repository of the Hugging Face hub at a commit. HF_TOKEN unlocks a gated one; HF_ENDPOINT names another hub."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.parse
import urllib.request

from .errors import FetchError
from .files import File, digest_of
from .json_text import FormatError, read_json
from .web import PROXY, ask, content_of, is_page, opener
from .weight_files import wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

HUB = "https://huggingface.co"

MAX_LISTING_BYTES = 32 << 20
"""Size limit of a listing. The listing of a repository with 100,000 files has some 25 MB."""


class HubFile(File):
    """One file of the repository. The hub gives the SHA-256 of large files, and git's checksum of all others."""

    def __init__(self, entry: dict[str, Any], pins: dict[str, str]) -> None:
        name, large = str(entry["rfilename"]), entry.get("lfs") or {}
        size, sha256 = int(large.get("size", entry["size"])), str(large.get("sha256", ""))
        if size < 0:
            raise ValueError
        super().__init__(name, size, sha256, giver="the hub", pin=pins.get(name, ""))
        self._blob = str(entry.get("blobId", ""))

    def is_given(self, path: Path, sha256: str) -> bool:
        """Return whether the SHA-256, or git's checksum if the hub has no SHA-256, is the hub's."""
        if self.sha256:
            return sha256 == self.sha256
        return digest_of(path, hashlib.sha1(b"blob %d\0" % self.size)) == self._blob  # noqa: S324  # as git does


class Hub:
    """The hub at one commit of one repository."""

    def __init__(self, repo: str, revision: str, endpoint: str = "") -> None:
        self.repo = self.name = repo
        self.revision = revision
        self._base = (endpoint or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._token = os.environ.get("HF_TOKEN", "")
        self._opener = opener()

    @property
    def identity(self) -> dict[str, str]:
        """Identity of this content."""
        return {"repo": self.repo, "revision": self.revision}

    def files(self, pins: dict[str, str]) -> list[HubFile]:
        """Return the files of the commit that an engine reads."""
        path = f"/api/models/{self.repo}/revision/{self.revision}?blobs=true"

        content = content_of(lambda: self._open(path, 0), MAX_LISTING_BYTES)
        try:
            entries = read_json(content)["siblings"]
            return choose([HubFile(entry, pins) for entry in entries])
        except (FormatError, KeyError, TypeError, AttributeError, ValueError) as error:
            if is_page(content):
                raise FetchError(f"{self._base} answers with a web page in place of a listing: {PROXY}") from None
            why = error if isinstance(error, FormatError) else "lacks what a hub says of files"
            raise FetchError(f"{self._base} answers with a listing of {self.repo} that {why}; is it a hub?") from None

    def open(self, name: str, start: int) -> Any:
        """Return the answer with file `name` from byte `start` on."""
        return self._open(f"/{self.repo}/resolve/{self.revision}/{urllib.parse.quote(name)}", start, name)

    def _open(self, path: str, start: int, name: str = "") -> Any:
        """Return the answer for `path`: file `name`, or the listing."""
        request = urllib.request.Request(self._base + path)  # noqa: S310  # the hub, or what HF_ENDPOINT names
        if self._token:
            request.add_unredirected_header("Authorization", "Bearer " + self._token)
        if start:
            request.add_header("Range", f"bytes={start}-")
        return ask(self._opener, request, self._base, lambda code: self._refusal(code, name))

    def _refusal(self, code: int, name: str) -> str:
        page = f"{self._base}/{self.repo}"
        if code == http.client.UNAUTHORIZED and not self._token:
            what = f"{self.repo} is gated, private or does not exist"
            return f"{what}; set source.token to a token that may read it, and accept its licence on {page} if it asks"
        if code == http.client.UNAUTHORIZED:
            return f"the hub does not know the token, or {self.repo} does not exist; make a new read token"
        if code == http.client.FORBIDDEN:
            return f"the token may not read {self.repo}; accept its licence on {page} with the token's account"
        if code == http.client.NOT_FOUND:
            missing = f"{name} at commit" if name else "commit"
            return f"{self.repo} has no {missing} {self.revision}; look up repository and commit on the hub"
        return f"{self._base} answers {code}"


def choose(files: Iterable[HubFile]) -> list[HubFile]:
    """Return the files that an engine reads: weights in one format, no training files, no pictures."""
    by_name = {file.name: file for file in files}
    return [by_name[name] for name in wanted(by_name)]
