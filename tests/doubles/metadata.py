"""The metadata services of AWS and GCP, for tests: run inside a machine, at their own address.

    metadata.py ADDRESS PORT FOLDER

Answers come from files in FOLDER, so that a test can change them from outside: `action` and `rebalance` (AWS),
`preempted` and `maintenance` (GCP); the role's keys are always the same. `refuse` makes it refuse tokens, `garbage`
is prepended to each answer. Standard library only.
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

AWS = {
    "/latest/meta-data/spot/instance-action": "action",
    "/latest/meta-data/events/recommendations/rebalance": "rebalance",
}
ROLE = "/latest/meta-data/iam/security-credentials/"
KEYS = '{"AccessKeyId": "AKIDROLE", "SecretAccessKey": "secret", "Token": "session"}'
GCP = {
    "/computeMetadata/v1/instance/preempted": ("preempted", "FALSE"),
    "/computeMetadata/v1/instance/maintenance-event": ("maintenance", "NONE"),
}
GIVEN = "a-token"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    folder: Path

    def do_PUT(self) -> None:
        if (self.folder / "refuse").exists():
            self._say(403, "")
        elif self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            self._say(200, GIVEN)
        else:
            self._say(400, "")

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path in GCP:
            self._google(*GCP[asked.path], parse_qs(asked.query))
        elif self.headers.get("X-aws-ec2-metadata-token") != GIVEN:
            self._say(401, "")
        else:
            roles = {ROLE: "llm-host", f"{ROLE}llm-host": KEYS}
            text = roles.get(asked.path) or self._text(AWS.get(asked.path, ""))
            self._say(404 if text is None else 200, text or "")

    def _google(self, name: str, default: str, query: dict[str, list[str]]) -> None:
        if self.headers.get("Metadata-Flavor") != "Google":
            self._say(403, "")
            return
        end = time.monotonic() + float(query.get("timeout_sec", ["0"])[0])
        value = self._text(name) or default
        while query.get("last_etag") == [value] and time.monotonic() < end:
            time.sleep(0.02)
            value = self._text(name) or default
        self._say(200, value, {"Metadata-Flavor": "Google", "ETag": value})

    def _text(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text().strip()
        except (FileNotFoundError, IsADirectoryError):
            return None

    def _say(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        garbage = (self.folder / "garbage").exists() and status == 200 and text != GIVEN
        body = (("<html>" if garbage else "") + text).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def server(address: str, port: int, folder: Path) -> ThreadingHTTPServer:
    """Return the service, listening."""
    handler = type("Bound", (Handler,), {"folder": folder})
    return ThreadingHTTPServer((address, port), handler)


if __name__ == "__main__":
    server(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
