"""A model of Ollama's registry, or of another with the same API, pinned by the digest of its manifest.

The manifest names its blobs by SHA-256, so its digest fixes the whole model. A public model needs no token.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.request

from .errors import FetchError
from .files import File
from .json_text import FormatError, read_json
from .web import PROXY, ask, content_of, is_page, opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEME = "ollama+"
MANIFEST = "manifest.json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MAX_MANIFEST_BYTES = 1 << 20


class Registry:
    """The model at `place`: ollama+https://server/owner/name:tag."""

    def __init__(self, place: str, digest: str) -> None:
        self.place = place
        self.digest = digest
        server, owner, tagged = place[len(SCHEME) :].rsplit("/", 2)
        model, _, self._tag = tagged.partition(":")
        self.name = f"{owner}/{tagged}"
        self._server = server
        self._base = f"{server}/v2/{owner}/{model}"
        self._opener = opener()

    @property
    def identity(self) -> dict[str, str]:
        """Identity of this content."""
        return {"digest": self.digest}

    def files(self, pins: dict[str, str]) -> list[File]:  # noqa: ARG002  # the digest pins everything
        """Return the manifest and its blobs. Raises FetchError if the manifest is not the pinned one."""
        content = content_of(lambda: self.open(MANIFEST, 0), MAX_MANIFEST_BYTES)
        if is_page(content):
            raise FetchError(f"{self._server} answers with a web page in place of a manifest: {PROXY}")
        found = hashlib.sha256(content).hexdigest()
        if found != self.digest:
            raise FetchError(
                f"the manifest of {self.name} has SHA-256 {found}, not {self.digest}, which the stack file pins: "
                "the tag has moved"
            )
        try:
            manifest = read_json(content)
            layers = {str(layer["digest"]): int(layer["size"]) for layer in (manifest["config"], *manifest["layers"])}
        except (FormatError, KeyError, TypeError, ValueError):
            raise FetchError(f"the answer of {self._server} is not a manifest of {self.name}") from None
        blobs = [
            File(_blob_name(digest), size, digest.partition(":")[2], giver="the manifest")
            for digest, size in layers.items()
        ]
        return [File(MANIFEST, len(content), found, giver="the stack file"), *blobs]

    def open(self, name: str, start: int) -> Any:
        """Return the answer with file `name` from byte `start` on."""
        if name == MANIFEST:
            return self._ask(f"{self._base}/manifests/{self._tag}", 0)
        return self._ask(f"{self._base}/blobs/{name.replace('-', ':', 1)}", start)

    def _ask(self, url: str, start: int) -> Any:
        request = urllib.request.Request(url, headers={"Accept": MANIFEST_TYPE})  # noqa: S310  # what the stack file names
        if start:
            request.add_header("Range", f"bytes={start}-")
        return ask(self._opener, request, self._server, self._refusal)

    def _refusal(self, code: int) -> str:
        if code == http.client.NOT_FOUND:
            return f"{self._server} has no {self.name}; look up name and tag there"
        return f"{self._server} answers {code} for {self.name}"


def _blob_name(digest: str) -> str:
    """Return the file name that Ollama gives a blob. Raises FetchError for an invalid digest."""
    algorithm, _, hexadecimal = digest.partition(":")
    if algorithm != "sha256" or len(hexadecimal) != 64 or set(hexadecimal) - set("0123456789abcdef"):  # noqa: PLR2004
        raise FetchError(f"the manifest names a blob {digest!r}, which is not a SHA-256")
    return f"sha256-{hexadecimal}"
