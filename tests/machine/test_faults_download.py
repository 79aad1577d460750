"""Downloads that go wrong: cut off, out of space, other content, no server. What was there before stays in place."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Download
from tests.machine.converge_host import Background, bring, poll, remote
from tests.slowness import patient

MIB = 1 << 20
CONTENT = hashlib.shake_256(b"release").digest(5 * MIB)
RIGHT = hashlib.sha256(CONTENT).hexdigest()
SIXTY_PERCENT = 3 * MIB


class Server:
    """Serves CONTENT and records the requested ranges; its first answer, or every one, may stop midway."""

    def __init__(self, address: str) -> None:
        self.cut_at = 0
        """Bytes after which the first answer ends; 0 means complete."""
        self.silent = False
        """Refuses every further request."""
        self.wait_at = 0
        """Bytes after which an answer waits until `go_on` is set."""
        self.go_on = threading.Event()
        self.ranges: list[str | None] = []
        self.http = ThreadingHTTPServer((address, 0), type("Handler", (_Handler,), {"owner": self}))
        self.url = f"http://{address}:{self.http.server_port}/release"


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def do_GET(self) -> None:
        """Answer with the rest from the requested offset."""
        owner, wanted = self.owner, self.headers.get("Range")
        if owner.silent and owner.ranges:
            self.send_error(503)
            return
        owner.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = CONTENT[start:]
        self.send_response(206 if wanted else 200)
        if not owner.wait_at:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if owner.wait_at:
            self.wfile.write(body[: owner.wait_at])
            self.wfile.flush()
            owner.go_on.wait(patient(60))
            body = body[owner.wait_at :]
        self.wfile.write(body[: owner.cut_at] if owner.cut_at and len(owner.ranges) == 1 else body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(machine: HostRecord) -> Iterator[Server]:
    """A server for the machine's downloads, on the address at which the machine reaches us."""
    made = Server(remote(machine, "ip -4 route show default").split()[2])
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.go_on.set()
    made.http.shutdown()
    thread.join()
    made.http.server_close()


@contextmanager
def small_disk(host: HostRecord, size_mib: int) -> Iterator[str]:
    """Mount a small disk with an older release on it."""
    path = "/mnt/downloads"
    remote(host, f"mkdir -p {path}; mount -t tmpfs -o size={size_mib}m tmpfs {path}; echo old > {path}/release")
    try:
        yield path
    finally:
        remote(host, f"umount {path}")


def test_a_download_cut_off_at_60_percent_resumes_in_the_same_run(machine: HostRecord, server: Server) -> None:
    server.cut_at = SIXTY_PERCENT
    wanted = Download(path="/opt/dl/release", url=server.url, sha256=RIGHT, mode=0o755)
    assert bring(machine, [wanted]).result.ok
    assert server.ranges == [None, f"bytes={SIXTY_PERCENT}-"]
    assert bring(machine, [wanted]).result.changed == ()
    assert remote(machine, "sha256sum /opt/dl/release").startswith(RIGHT)


def test_a_download_that_fails_all_tries_resumes_in_the_next_run(machine: HostRecord, server: Server) -> None:
    """60 % remain, not under the final name; the next run requests only the other 40 %."""
    server.cut_at, server.silent = SIXTY_PERCENT, True
    wanted = Download(path="/opt/dlc/release", url=server.url, sha256=RIGHT)
    assert "HTTP 503 (tried 4 times)" in bring(machine, [wanted]).of(wanted).error
    assert remote(machine, "ls /opt/dlc; stat -c %s /opt/dlc/.release.*").split() == [str(SIXTY_PERCENT)]
    server.silent = False
    assert bring(machine, [wanted]).result.ok
    assert server.ranges == [None, f"bytes={SIXTY_PERCENT}-"]


def test_a_disk_that_fills_during_a_pull_keeps_the_old_file(machine: HostRecord, server: Server) -> None:
    """The size was not announced, and another program took the space meanwhile."""
    server.wait_at = MIB
    with small_disk(machine, 7) as path:
        wanted = Download(path=f"{path}/release", url=server.url, sha256=RIGHT)
        running = Background(machine, [wanted])
        poll(lambda: remote(machine, f"stat -c %s {path}/.release.* 2>/dev/null || true").strip() == str(MIB))
        remote(machine, f"head -c 5M /dev/zero > {path}/of-somebody-else")
        server.go_on.set()
        running.join()
        assert running.seen is not None
        assert f"no space left for {path}/release" in running.seen.of(wanted).error
        assert remote(machine, f"cat {path}/release; ls -A {path}") == "old\nof-somebody-else\nrelease\n"
        remote(machine, f"rm {path}/of-somebody-else")
        assert bring(machine, [wanted]).result.ok
        assert remote(machine, f"sha256sum {path}/release").startswith(RIGHT)


def test_a_too_small_disk_is_reported_before_the_pull(machine: HostRecord, server: Server) -> None:
    with small_disk(machine, 4) as path:
        wanted = Download(path=f"{path}/release", url=server.url, sha256=RIGHT)
        assert f"needs 5 MiB at {path}/release, which has 3 free" in bring(machine, [wanted]).of(wanted).error
        assert remote(machine, f"cat {path}/release") == "old\n"


def test_a_wrong_checksum_never_reaches_the_path(machine: HostRecord, server: Server) -> None:
    """The old file stays, nothing remains beside it, and the error names both hashes."""
    remote(machine, "mkdir -p /opt/dlw; echo old > /opt/dlw/release")
    wanted = Download(path="/opt/dlw/release", url=server.url, sha256="0" * 64)
    error = bring(machine, [wanted]).of(wanted).error
    assert RIGHT in error
    assert "0" * 64 in error
    assert remote(machine, "cat /opt/dlw/release; ls -A /opt/dlw") == "old\nrelease\n"


def test_an_unreachable_server_is_named(machine: HostRecord) -> None:
    """After its tries the error names the address."""
    wanted = Download(path="/opt/dln", url="http://127.0.0.1:9/x", sha256="0" * 64)
    assert "http://127.0.0.1:9/x: " in bring(machine, [wanted]).of(wanted).error
