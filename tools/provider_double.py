"""A stand-in for a provider of language models on this computer: OpenAI's API over TLS, with words that mean nothing.

Keeps what it received, so that a test or the demo can prove what left. Counts a word as a token.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DAYS = 2
WORDS = ("this", "answer", "comes", "from", "a", "provider")


@dataclass
class ProviderDouble:
    """What the provider knows."""

    key: str
    received: list[bytes] = field(default_factory=list)
    """Bodies of requests, in order."""


@contextmanager
def running_double(address: str, port: int, certificate: Path, key: str) -> Iterator[ProviderDouble]:
    """Answer requests with this API key. `certificate`: a PEM with its key. Raises OSError if the port is in use."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with _Server((address, port), _Handler) as server:
        server.tls, server.double = tls, ProviderDouble(key)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.double
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext
    double: ProviderDouble

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread."""
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.double.received.append(body)
        if self.headers.get("authorization") != f"Bearer {self.server.double.key}":
            self._send(401, {"error": {"message": "wrong key"}})
        elif self.path != "/v1/chat/completions":
            self._send(404, {"error": {"message": "no such path"}})
        else:
            self._answer(json.loads(body))

    def _answer(self, asked: dict[str, Any]) -> None:
        count = asked["max_tokens"]
        text = " ".join(WORDS[index % len(WORDS)] for index in range(count))
        tokens_in = sum(len(str(message["content"]).split()) for message in asked["messages"])
        usage = {"prompt_tokens": tokens_in, "completion_tokens": count, "total_tokens": tokens_in + count}
        head = {"id": "chatcmpl-1", "created": 1, "model": asked["model"]}
        message = {"role": "assistant", "content": text}
        if not asked.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self._send(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        choice = {"index": 0, "finish_reason": "stop", "delta": message}
        events = [
            {**head, "object": "chat.completion.chunk", "choices": [choice]},
            {**head, "choices": [], "usage": usage},
        ]
        data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._send(200, data.encode(), "text/event-stream")

    def _send(self, status: int, content: dict[str, Any] | bytes, kind: str = "application/json") -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def self_signed(name: str) -> tuple[str, str]:
    """Return a certificate for `name` and its private key, as PEM. Programs that should trust it need the first."""
    from cryptography import x509  # late: it takes long to import
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding).decode(), private.decode()
