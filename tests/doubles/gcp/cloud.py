"""The simulated GCP behind HTTP, and the providers that work on its store.

Prints its URL and serves until it is ended:

python -m tests.doubles.gcp.cloud
"""

import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.doubles.gcp.client import Gcp, connect
from tests.doubles.gcp.rest import Rest
from tests.doubles.gcp.settings import RESET, Settings
from tests.doubles.gcp.store import Store
from tests.doubles.provider import control, launcher
from tests.doubles.provider.values import Properties


class Cloud:
    """A WSGI application: the test's control of the cloud, and the cloud's REST."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest = Rest(store)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/double/"):
            return self._rest(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = self._controlled(environ["PATH_INFO"], body)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _controlled(self, path: str, body: bytes) -> Any:
        if path == control.CALLS:
            return self._store.calls
        if path == launcher.PATH:
            return _open_provider(self._store, **json.loads(body))
        if path == RESET:
            self._store.clear()
        elif path == control.CONTROL:
            self._store.settings = control.decode(Settings, body)
        return {}


class Quiet(WSGIRequestHandler):
    """Does not log requests. HTTP/1.1 marks the end of an answer; over 1.0 the client waits until werkzeug closes."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Print nothing: the store keeps a list of calls."""


def serve(store: Store) -> Any:
    """Return a server on a free port, not yet serving."""
    return make_server("127.0.0.1", 0, Cloud(store), threaded=True, request_handler=Quiet)


def _open_provider(store: Store, environ: Mapping[str, str], pid: int) -> int:
    """Start a provider for one run of the engine; return its port."""
    from tests.doubles.gcp.table import FUNCTIONS, KINDS
    from tests.doubles.provider.schema import provider_inputs
    from tests.doubles.provider.server import Package, start

    def connected(settings: Properties, given: Mapping[str, str]) -> Gcp:
        return connect(store, settings, given)

    return start(Package(version("pulumi_gcp"), connected, KINDS, FUNCTIONS, provider_inputs("gcp")), environ, pid)


def main() -> None:
    """Serve on a free port."""
    from tests.doubles.gcp.table import KINDS
    from tests.doubles.provider.schema import resource_schema

    for kind in KINDS:
        resource_schema(kind.token)  # loads the SDK before threads use it: its lazy modules are not thread-safe
    server = serve(Store())
    sys.stdout.write(f"http://127.0.0.1:{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
