"""Google Cloud Storage's XML API and a metadata server on loopback: objects for clients with the token."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote

from tests.doubles.running import running

TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # a path


class StorageDouble:
    """The bucket's content, by `/bucket/object`; a metadata server gives out the token at the same address."""

    def __init__(self, objects: dict[str, bytes], *, token: str = "") -> None:
        self.objects = objects
        self.token = token
        self.cut_after: dict[str, int] = {}
        """Bytes of an object that are sent before the connection breaks, once."""
        self.asked: list[tuple[str, str, str]] = []
        """Method, path and Range header of each request for an object."""
        self.may_add = ""
        """Objects below this path may be added, and not replaced, as with the role objectCreator."""
        self.address = ""


class _Handler(BaseHTTPRequestHandler):
    storage: ClassVar[StorageDouble]

    def do_GET(self) -> None:
        if self.path == TOKEN_PATH and self.headers.get("Metadata-Flavor") == "Google":
            self._send(200, b'{"access_token": "%s"}' % self.storage.token.encode())
            return
        self._object(with_body=True)

    def do_HEAD(self) -> None:
        self._object(with_body=False)

    def do_PUT(self) -> None:
        path, content = unquote(self.path), self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers.get("Authorization") == f"Bearer {self.storage.token}"
        added = bool(self.storage.may_add) and path.startswith(self.storage.may_add)
        if not (known and added) or path in self.storage.objects:
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        self.storage.objects[path] = content
        self._send(200, b"")

    def _object(self, *, with_body: bool) -> None:
        path, wanted = unquote(self.path), self.headers.get("Range", "")
        self.storage.asked.append((self.command, path, wanted))
        if self.storage.token and self.headers.get("Authorization") != f"Bearer {self.storage.token}":
            self._send(403, b"")
        elif path not in self.storage.objects:
            self._send(404, b"")
        else:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            content = self.storage.objects[path][start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content[: self.storage.cut_after.pop(path, len(content))])

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Do not log into the test's output."""


@contextmanager
def running_storage(storage: StorageDouble) -> Iterator[StorageDouble]:
    """Serve `storage` on loopback until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"storage": storage}))
    storage.address = f"127.0.0.1:{server.server_address[1]}"
    with running(server):
        yield storage
