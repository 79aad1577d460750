"""A folder of a bucket or a web server, pinned by the checksum of its list: SHA256SUMS, as sha256sum writes it.

Such a store has no commits. Instead, the checksum of the list fixes the checksum of each file.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.parse
import urllib.request
from functools import partial

from . import amazon, google
from .errors import FetchError, InterruptedTransferError
from .files import File, safe_name
from .json_text import shown
from .web import PROXY, ask, content_of, in_some_tries, is_page, opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIST = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")
MAX_LIST_BYTES = 4 << 20


class Listed:
    """The folder at `url`: s3://bucket/folder, gs://bucket/folder or https://server/folder."""

    def __init__(self, url: str, sha256: str) -> None:
        self.name = url.rstrip("/")
        self.sha256 = sha256
        self._opener = opener()

    @property
    def identity(self) -> dict[str, str]:
        """Identity of this content."""
        return {"url": self.name, "sha256": self.sha256}

    def files(self, pins: dict[str, str]) -> list[File]:
        """Return the files of the list, with their sizes."""
        sums = self.sums()
        sizes = {name: in_some_tries(partial(self._size, name)) for name in sums}
        return [File(name, sizes[name], sha256, giver=LIST, pin=pins.get(name, "")) for name, sha256 in sums.items()]

    def sums(self) -> dict[str, str]:
        """Return the SHA-256 of each file by name. Raises FetchError if the list is not the pinned one."""
        content = content_of(lambda: self.open(LIST, 0), MAX_LIST_BYTES)
        if is_page(content):
            raise FetchError(f"{self.name} answers with a web page in place of {LIST}: {PROXY}")
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise FetchError(f"{LIST} of {self.name} has SHA-256 {found}, not {self.sha256}, which the stack file pins")
        lines = [LINE.fullmatch(line) for line in content.decode(errors="replace").splitlines() if line.strip()]
        if not lines or not all(lines):
            raise FetchError(f"{LIST} of {self.name} is not a list of checksums; write it with sha256sum")
        return {safe_name(line[2]): line[1] for line in lines if line and line[2] != LIST}

    def open(self, name: str, start: int) -> Any:
        """Return the answer with file `name` from byte `start` on."""
        return self._ask("GET", name, {"Range": f"bytes={start}-"} if start else {})

    def _size(self, name: str) -> int:
        with self._ask("HEAD", name, {}) as answer:
            announced = str(answer.headers.get("Content-Length") or "0")
        if not re.fullmatch("[0-9]{1,18}", announced):
            raise InterruptedTransferError(f"the server of {self.name}/{name} announces {shown(announced)} bytes")
        return int(announced)

    def _ask(self, method: str, name: str, headers: dict[str, str]) -> Any:
        request = self._request(method, f"{self.name}/{name}")
        for key, value in headers.items():
            request.add_header(key, value)
        return ask(self._opener, request, self.name, lambda code: self._refusal(code, name))

    def _request(self, method: str, url: str) -> urllib.request.Request:
        """Return the request for `url`, with the credentials for its server."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "s3":
            return amazon.request(method, parts.netloc, parts.path.lstrip("/"))
        if parts.scheme == "gs":
            return google.request(method, parts.netloc, parts.path.lstrip("/"))
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise FetchError(f"{self.name} is not https://")
        path = urllib.parse.quote(parts.path)
        request = urllib.request.Request(parts._replace(path=path).geturl(), method=method)  # noqa: S310  # looked at above
        token = os.environ.get("LLM_FETCH_TOKEN", "")
        if token:
            request.add_unredirected_header("Authorization", "Bearer " + token)
        return request

    def _refusal(self, code: int, name: str) -> str:
        if code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            return (
                f"{self.name}/{name} may not be read ({code}); give this host's role or the source's token the right to"
            )
        if code == http.client.NOT_FOUND:
            return f"{self.name} has no {name}; put all files and their {LIST} there"
        return f"{self.name} answers {code}"
