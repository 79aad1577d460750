"""A model hub on loopback: one repository at one commit, with redirects to a storage server, tokens and faults."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from tests.doubles.running import running

REPO = "acme/base"
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
REVISION = "0123456789abcdef0123456789abcdef01234567"


class HubDouble:
    """The hub's files, its requests, and its faults. A name in `large` is stored like Git LFS does."""

    def __init__(self, files: dict[str, bytes], *, large: tuple[str, ...] = (), token: str = "") -> None:
        self.files = files
        self.large = large
        self.token = token
        self.revision = REVISION
        self.refusal = 401
        """Status for clients with a missing or wrong token."""
        self.cut_after: dict[str, int] = {}
        """Bytes of a file that are sent before the connection breaks, once."""
        self.busy: list[tuple[int, dict[str, str]]] = []
        """Status and headers of the next answers, in place of the requested file."""
        self.page: set[str] = set()
        """Files, or `listing`, that a proxy replaces with its own page."""
        self.announced: dict[str, int] = {}
        """A false Content-Length, by file."""
        self.ranges: dict[str, str] = {}
        """A false Content-Range, by file."""
        self.whole_only: set[str] = set()
        """Files that cannot be requested in parts."""
        self.raw_listing: bytes | None = None
        """Content that replaces the listing."""
        self.message = ""
        """The hub's message about a refusal, in its own header."""
        self.corrupt: set[str] = set()
        """Files whose content differs from the listing."""
        self.downloads: list[tuple[str, str]] = []
        """Each file that was asked for, with the Range header."""
        self.storage_headers: list[dict[str, str]] = []
        """Headers of requests to the storage server."""
        self.url = ""
        self.storage_url = ""

    def listing(self) -> list[dict[str, object]]:
        """Return the files as the hub lists them."""
        entries: list[dict[str, object]] = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324  # git's name for it
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
            if name in self.large:
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        return entries


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[HubDouble]

    def do_GET(self) -> None:
        if self.hub.busy:
            status, headers = self.hub.busy.pop(0)
            self._send(status, b"{}", headers)
            return
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._send(self.hub.refusal, b"{}")
            return
        path = unquote(urlsplit(self.path).path)
        if path == f"/api/models/{REPO}/revision/{self.hub.revision}":
            if "listing" in self.hub.page:
                self._send(200, PAGE)
                return
            content = json.dumps({"sha": self.hub.revision, "siblings": self.hub.listing()}).encode()
            self._send(200, content if self.hub.raw_listing is None else self.hub.raw_listing)
            return
        name = path.removeprefix(f"/{REPO}/resolve/{self.hub.revision}/")
        if name == path or name not in self.hub.files:
            self._send(404, b"{}")
        elif name in self.hub.large:
            self.send_response(302)
            self.send_header("Location", f"{self.hub.storage_url}/{name}")
            self.end_headers()
        else:
            _send_file(self, self.hub, name)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        message = {"X-Error-Message": self.hub.message} if self.hub.message and status >= 400 else {}
        for name, value in {**message, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Do not log into the test's output."""


class _Storage(BaseHTTPRequestHandler):
    hub: ClassVar[HubDouble]

    def do_GET(self) -> None:
        self.hub.storage_headers.append(dict(self.headers))
        _send_file(self, self.hub, unquote(self.path[1:]))

    def log_message(self, *_: object) -> None:
        """Do not log into the test's output."""


def _send_file(handler: BaseHTTPRequestHandler, hub: HubDouble, name: str) -> None:
    content = hub.files[name]
    if name in hub.corrupt:
        content = bytes(len(content))
    if name in hub.page:
        content = PAGE
    wanted = handler.headers.get("Range", "")
    hub.downloads.append((name, wanted))
    start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
    if start and name in hub.whole_only:
        handler.send_response(416)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    if name in hub.ranges:
        handler.send_header("Content-Range", hub.ranges[name])
    handler.send_header("Content-Length", str(hub.announced.get(name, len(content) - start)))
    handler.end_headers()
    end = hub.cut_after.pop(name, len(content))
    handler.wfile.write(content[start:end])


@contextmanager
def running_hub(hub: HubDouble) -> Iterator[HubDouble]:
    """Serve `hub` on loopback until the block ends."""
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (kind,), {"hub": hub})) for kind in (_Handler, _Storage)
    ]
    hub.url, hub.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server))
        yield hub
