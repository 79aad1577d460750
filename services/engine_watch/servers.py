"""Answers HAProxy's agent check, and Prometheus on loopback. Each answer is made when it is asked for."""

import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Text = Callable[[], str]

SLOW_CLIENT_S = 5


def serve_agent(address: str, port: int, line: Text) -> socketserver.TCPServer:
    """Answer each connection with one line, in the background."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(SLOW_CLIENT_S)
            self.request.sendall(line().encode())

    return _started(_Agent(address, port, Handler))


def serve_metrics(port: int, text: Text) -> socketserver.TCPServer:
    """Serve /metrics on loopback, in the background."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SLOW_CLIENT_S

        def do_GET(self) -> None:
            found = self.path == "/metrics"
            body = text().encode() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # the base class's name
            """Scrapes fill no journal."""

    return _started(_Metrics(("127.0.0.1", port), Handler))


class _Quiet:
    """Forgives a peer that goes away."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


class _Agent(_Quiet, socketserver.ThreadingTCPServer):
    def __init__(self, address: str, port: int, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__((address, port), handler, bind_and_activate=False)
        self.socket.close()
        both = address == "::" and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        place = (address if both or address != "::" else "0.0.0.0", port)  # noqa: S104  # the firewall is in front
        self.socket = socket.create_server(place, family=family, dualstack_ipv6=both)
        self.server_address = self.socket.getsockname()[:2]


class _Metrics(_Quiet, ThreadingHTTPServer):
    pass


def _started(server: socketserver.TCPServer) -> socketserver.TCPServer:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    return server
