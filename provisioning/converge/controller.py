"""Runs the agent on a host over one connection and tells what it says. Does not decide what is wished for."""

import json
import shlex
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import fabric
import paramiko

from core.errors import DeployError, HostError
from infra.outputs import HostRecord
from provisioning.connection import open_connection
from provisioning.converge.bundle import Bundle, agent_zip, bundle
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult, OnEvent, Outcome, Progress

LOADER = """\
import os, sys, time, zlib
started = time.monotonic()
stream = sys.stdin.buffer
agent, document = (zlib.decompress(stream.read(int(size))) for size in stream.readline().split())
handle = os.memfd_create("agent")
os.write(handle, agent)
sys.path.insert(0, "/proc/self/fd/%d" % handle)
from agent.main import serve
sys.exit(serve(document, stream, started))
"""
"""Reads agent and list from stdin, so that nothing is installed and nothing secret is in an argument list."""

BLOCK_BYTES = 1 << 20
ERROR_BYTES = 64 * 1024
NOT_FOUND = 127
"""A shell's exit status for a program that is not there."""


def converge(host: HostRecord, resources: Sequence[Resource], *, dry_run: bool, on_event: OnEvent) -> HostResult:
    """Bring `host` to `resources`, or with `dry_run` only say what would change.

    A failed resource is in the result. Raises HostError when the host cannot be reached or trusted, refuses sudo, has
    no Python, is being provisioned by someone else, or when the connection is cut.
    """
    began = time.monotonic()
    waiting = _AgentStart(host)
    try:
        package = bundle(resources, dry_run=dry_run)
        talk = _Talk(host, package, on_event)
        listed = time.monotonic()
        channel = waiting.channel()
        connected = time.monotonic()
        talk.run(channel)
        ended = time.monotonic()
    finally:
        waiting.close()
    phases = {"list": listed - began, "connect": connected - began, "agent": ended - connected}
    return talk.result(ended - began, phases)


class _AgentStart:
    """Connects, and has the host's Python wait for the agent, in a thread while the list is made ready here."""

    def __init__(self, host: HostRecord) -> None:
        self._host = host
        self._connection: fabric.Connection | None = None
        self._channel: paramiko.Channel | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        try:
            self._connection = open_connection(self._host)
            self._channel = self._connection.transport.open_session()
            command = f"python3 -ISc {shlex.quote(LOADER)}"
            self._channel.exec_command(command if self._host.user == "root" else f"sudo -n {command}")
        except BaseException as error:
            self._error = error

    def channel(self) -> paramiko.Channel:
        """Return the channel to the waiting Python. Raises HostError in words when there is none."""
        self._thread.join()
        if isinstance(self._error, OSError | EOFError | paramiko.SSHException):
            raise HostError(f"SSH gave up before the agent ran: {self._error}", where=self._host.name) from self._error
        if self._error is not None:
            raise self._error
        assert self._channel is not None  # noqa: S101 (no error: the thread has come to its end)
        return self._channel

    def close(self) -> None:
        """End the connection, whatever state it is in."""
        self._thread.join()
        if self._connection is not None:
            self._connection.close()


class _Talk:
    """One run of the agent."""

    def __init__(self, host: HostRecord, package: Bundle, on_event: OnEvent) -> None:
        self._host = host
        self._package = package
        self._on_event = on_event
        self._outcomes: list[Outcome] = []
        self._round_trips = 1
        self._end: dict[str, Any] | None = None

    def run(self, channel: paramiko.Channel) -> None:
        """Send agent and list, then follow the events to the end."""
        parts = [zlib.compress(agent_zip()), zlib.compress(json.dumps(self._package.document).encode())]
        try:
            channel.sendall(b"%d %d\n" % (len(parts[0]), len(parts[1])) + b"".join(parts))
            for line in _lines(channel):
                if line.startswith(b"{"):  # a login shell may have words of its own
                    self._handle(json.loads(line), channel)
        except OSError:  # the channel closed under our hands: what is missing tells the story
            pass
        if self._end is None:
            raise self._broken(channel)

    def _handle(self, event: dict[str, Any], channel: paramiko.Channel) -> None:
        match event.pop("event"):
            case "resource":
                event["changes"] = tuple(event.get("changes", ()))
                outcome = Outcome(**event)
                self._outcomes.append(outcome)
                self._on_event(self._host.name, outcome)
            case "progress":
                self._on_event(self._host.name, Progress(**event))
            case "need":
                self._round_trips += 1
                for sha256, offset, length in event["pieces"]:
                    self._send_piece(channel, sha256, offset, length)
            case "end":
                self._end = event
            case "refused":
                raise HostError(event["error"], where=self._host.name, detail=event["detail"])
            case "crashed":
                raise RuntimeError(f"the agent crashed on {self._host.name}\n{event['detail']}")

    def _send_piece(self, channel: paramiko.Channel, sha256: str, offset: int, length: int) -> None:
        try:
            stream = self._package.blobs[sha256].open("rb")
        except OSError as error:
            channel.sendall(json.dumps({"error": f"{error.filename}: {error.strerror}"}).encode() + b"\n")
            return
        with stream:
            stream.seek(offset)
            channel.sendall(json.dumps({"length": length}).encode() + b"\n")
            while length:
                block = stream.read(min(length, BLOCK_BYTES)) or bytes(length)  # shrunk since: the hash will tell
                channel.sendall(block)
                length -= len(block)

    def _broken(self, channel: paramiko.Channel) -> DeployError:
        """Return why the agent never came to its end."""
        where = f"{self._host.name} ({self._host.user}@{self._host.address})"
        status = channel.recv_exit_status() if channel.exit_status_ready() else -1
        said = channel.recv_stderr(ERROR_BYTES).decode(errors="replace").strip() if channel.recv_stderr_ready() else ""
        for secret in self._package.secrets:
            said = said.replace(secret, "(secret)")
        if (status == NOT_FOUND and "python3" in said) or "sudo: python3: command not found" in said:
            return HostError("has no python3", where=where, hint="install python3 (3.8 or newer) there", detail=said)
        if "sudo:" in said:
            hint = f"let {self._host.user} use sudo without a password, or log in as root"
            return HostError("sudo refused", where=where, hint=hint, detail=said)
        if status == -1 or not said:
            hint = "run the same command again: it finishes what was begun"
            return HostError("the connection was cut", where=where, hint=hint, detail=said)
        return HostError(f"the agent ended with status {status}", where=where, detail=said)

    def result(self, seconds: float, phases: dict[str, float]) -> HostResult:
        """Return the outcomes by status."""
        by_status = {status: tuple(o for o in self._outcomes if o.status == status) for status in _STATUSES}
        inside = (self._end or {}).get("phases", {})
        return HostResult(
            host=self._host.name,
            ok=not by_status["failed"],
            changed=by_status["changed"],
            unchanged=by_status["ok"],
            failed=by_status["failed"],
            skipped=by_status["skipped"],
            seconds=seconds,
            round_trips=self._round_trips,
            phases={**phases, **inside},
        )


_STATUSES = ("ok", "changed", "failed", "skipped")


def _lines(channel: paramiko.Channel) -> Iterator[bytes]:
    """Yield whole lines as they come, until the agent closes its stdout."""
    held = b""
    while block := channel.recv(BLOCK_BYTES):
        *lines, held = (held + block).split(b"\n")
        yield from lines
