"""Files over HTTP like a release server and Ollama's registry, with transfers that break midway."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from tests.doubles.running import running


class RegistryDouble:
    """The server's files by path, its requests, and the transfers that it breaks off."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_after: dict[str, int] = {}
        """Bytes of a file that are sent before the connection breaks, once."""
        self.asked: list[tuple[str, str]] = []
        """Each file that was asked for, with the Range header."""
        self.url = ""

    def add_model(self, name: str, layers: dict[str, bytes]) -> str:
        """Publish a model from its layers by media type, the config first; return the digest of its manifest."""
        owner, _, tag = name.partition(":")
        entries = []
        for media_type, content in layers.items():
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            self.files[f"/v2/{owner}/blobs/{digest}"] = content
            entries.append({"mediaType": media_type, "digest": digest, "size": len(content)})
        manifest = {"schemaVersion": 2, "config": entries[0], "layers": entries[1:]}
        content = json.dumps(manifest).encode()
        self.files[f"/v2/{owner}/manifests/{tag}"] = content
        return hashlib.sha256(content).hexdigest()

    def ranges(self, path: str) -> list[str]:
        """Return the Range header of each request for `path`."""
        return [wanted for asked, wanted in self.asked if asked == path]


class _Handler(BaseHTTPRequestHandler):
    registry: ClassVar[RegistryDouble]

    def do_GET(self) -> None:
        content = self.registry.files.get(self.path)
        wanted = self.headers.get("Range", "")
        self.registry.asked.append((self.path, wanted))
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.registry.cut_after.pop(self.path, len(content))])

    def log_message(self, *_: object) -> None:
        """Do not log into the test's output."""


@contextmanager
def running_registry(address: str) -> Iterator[RegistryDouble]:
    """Serve a registry at `address` until the block ends."""
    registry = RegistryDouble()
    server = ThreadingHTTPServer((address, 0), type("Handler", (_Handler,), {"registry": registry}))
    registry.url = f"http://{address}:{server.server_address[1]}"
    with running(server):
        yield registry
