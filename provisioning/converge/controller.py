"""Runs the agent on a host over one connection and reports its events. Does not decide the desired state."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import paramiko

from core.errors import ConfigError, DeployError, HostError
from core.reading.regular_files import open_regular
from infra.contract.outputs import HostRecord
from provisioning.converge.messages import Confirm, End, Message, Need, Trouble, event_of, read_event
from provisioning.converge.payload import Payload, payload_of
from provisioning.converge.proxy import proxy_environment, proxy_masks
from provisioning.converge.resources import Command, Resource
from provisioning.converge.result import HostResult, OnEvent, Outcome, Progress
from provisioning.converge.session import Session, packed
from provisioning.ssh.host_output import DETAIL_CHARS, MARK, NOISE_BYTES, NOT_A_SHELL, own_words
from provisioning.ssh.remote import NoCommandsError, not_begun, run_program
from provisioning.ssh.target import SshTarget
from provisioning.ssh.wait_for_ssh import new_login, patience_s, second_login

BLOCK_BYTES = 1 << 20
ERROR_BYTES = 64 * 1024

EXIT_STATUS_S = 5
"""How long the controller waits for the exit status of an agent whose output has ended."""


def converge(
    host: HostRecord,
    resources: Sequence[Resource] | Callable[[], Sequence[Resource]],
    *,
    dry_run: bool,
    on_event: OnEvent,
    session: Session | None = None,
) -> HostResult:
    """Bring `host` to `resources`, or with `dry_run` only report what would change.

    `resources` may be a function; it is called while the connection is being made. An open `session` is used and
    closed. A failed resource is in the result.

    Raises HostError if the host cannot be reached or trusted, refuses sudo, has no Python or is being provisioned by
    someone else, or if the connection is cut.
    """
    began = time.monotonic()
    waiting = session or Session(SshTarget.of(host), patience_s=patience_s(host.cloud))
    try:
        desired = resources() if callable(resources) else resources
        environment, masks = proxy_environment(host), proxy_masks(host)
        payload = payload_of(desired, dry_run=dry_run, environment=environment, masks=masks)
        talk = _Talk(host, payload, on_event, confirmations(desired))
        listed = time.monotonic()
        channel = waiting.channel()
        connected = time.monotonic()
        talk.run(channel)
        ended = time.monotonic()
    finally:
        waiting.close()
    phases = {"list": listed - began, "connect": connected - began, "agent": ended - connected}
    return talk.result(ended - began, phases)


def confirmations(resources: Sequence[Resource]) -> dict[str, tuple[str, ...]]:
    """Return the commands that wait for a new connection, each id with the program to run over it."""
    return {each.id: each.confirmed_by for each in resources if isinstance(each, Command) and each.confirmed_by}


class _Talk:
    """One run of the agent."""

    def __init__(
        self,
        host: HostRecord,
        payload: Payload,
        on_event: OnEvent,
        confirmations: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        self._confirmations = dict(confirmations)
        self._unconfirmed: dict[str, str] = {}
        """Why a command could not be confirmed, by id; the host cannot know that."""
        self._host = host
        self._ssh_target = SshTarget.of(host)
        self._payload = payload
        self._on_event = on_event
        self._outcomes: list[Outcome] = []
        self._round_trips = 1
        self._end: dict[str, Any] | None = None
        self._begun = False
        self._noise = b""
        """The end of what the login shell printed."""

    def run(self, channel: paramiko.Channel) -> None:
        """Send the list, then follow the events to the end."""
        try:
            channel.sendall(packed(json.dumps(self._payload.document).encode()))
            for line in self._lines(channel):
                if (event := self._event(line)) is not None:
                    self._handle(event, channel)
        except OSError:  # the channel closed; the missing end event is reported below
            pass
        if self._end is None:
            raise self._broken(channel)

    def _event(self, line: bytes) -> dict[str, Any] | None:
        """Return the agent's event in `line`; None for output of a login script or another program."""
        line = line.rstrip(b"\r")
        if not self._begun and line == MARK.encode():
            self._begun = True
            return None
        event = event_of(line) if self._begun else None
        if event is not None:
            return event
        self._noise = (self._noise + b"\n" + line)[-DETAIL_CHARS:]
        return None

    def _lines(self, channel: paramiko.Channel) -> Iterator[bytes]:
        """Yield whole lines until the agent closes its stdout. Raises NoCommandsError for endless login output."""
        held, heard = b"", 0
        while block := channel.recv(BLOCK_BYTES):
            heard += len(block)
            if not self._begun and heard > NOISE_BYTES:
                where = f"{self._host.name} ({self._host.user}@{self._host.address})"
                words = (self._noise + held)[-DETAIL_CHARS:].decode(errors="replace")
                raise NoCommandsError("does not run commands over SSH", where=where, hint=NOT_A_SHELL, detail=words)
            *lines, held = (held + block).split(b"\n")
            yield from lines

    def _handle(self, event: dict[str, Any], channel: paramiko.Channel) -> None:
        kind, said = event["event"], self._understood(event)
        if isinstance(said, Outcome):
            if said.status == "failed" and (why := self._unconfirmed.get(said.id)):
                said = replace(said, detail=f"{said.detail}\n{why}".strip())
            self._outcomes.append(said)
        if isinstance(said, Outcome | Progress):
            self._on_event(self._host.name, said)
        if isinstance(said, Progress) and said.text and said.id in self._confirmations:
            self._confirm(said.id)
        if isinstance(said, Need):
            self._round_trips += 1
            for sha256, offset, length in said.pieces:
                self._send_piece(channel, sha256, offset, length)
        elif isinstance(said, Confirm):
            channel.sendall(json.dumps({"error": self._second_login()}).encode() + b"\n")
        elif isinstance(said, End):
            self._end = {"phases": said.phases}
        elif isinstance(said, Trouble) and kind == "refused":
            raise HostError(said.error, where=self._host.name, detail=said.detail)
        elif isinstance(said, Trouble):
            raise RuntimeError(f"the agent crashed on {self._host.name}\n{said.detail}")

    def _understood(self, event: dict[str, Any]) -> Message | None:
        """Return the message in an event. Raises HostError for an event that the agent cannot have sent."""
        try:
            said = read_event(event)
            if isinstance(said, Need):
                for sha256, offset, length in said.pieces:
                    if sha256 not in self._payload.blobs or offset < 0 or length < 0:
                        raise ValueError("requests content that is not in the payload")
        except ValueError as error:
            what, hint = "cannot read the agent's answer", "does another program on this host write to the same output?"
            raise HostError(what, where=self._host.name, hint=hint, detail=str(error)) from None
        return said

    def _second_login(self) -> str:
        """Return why a second login failed, or an empty string."""
        failed = second_login(self._ssh_target)
        return failed and f"a second login failed with it: {failed}"

    def _confirm(self, command: str) -> None:
        """Run a program over a new connection. If that fails, the host stops waiting and fails `command`."""
        words = self._confirmations.pop(command)
        failed = new_login(self._ssh_target, lambda connection: run_program(connection, self._ssh_target, *words))
        if failed:
            self._unconfirmed[command] = f"the new connection failed: {failed}"

    def _send_piece(self, channel: paramiko.Channel, sha256: str, offset: int, length: int) -> None:
        try:
            stream = open_regular(self._payload.blobs[sha256], follow=False)
        except OSError as error:
            channel.sendall(json.dumps({"error": f"{error.filename}: {error.strerror}"}).encode() + b"\n")
            return
        except ConfigError as error:  # e.g. it has become a pipe since it was listed
            channel.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
            return
        with stream:
            stream.seek(offset)
            channel.sendall(json.dumps({"length": length}).encode() + b"\n")
            while length:
                try:
                    # zeros for a file that has shrunk: its hash will differ
                    block = stream.read(min(length, BLOCK_BYTES)) or bytes(length)
                except OSError as error:  # the agent waits for bytes and cannot be informed: end the connection
                    where = str(self._payload.blobs[sha256])
                    raise DeployError(f"cannot be read ({error.strerror})", where=where) from error
                channel.sendall(block)
                length -= len(block)

    def _broken(self, channel: paramiko.Channel) -> DeployError:
        """Return the error for an agent that sent no end event."""
        where = f"{self._host.name} ({self._host.user}@{self._host.address})"
        channel.status_event.wait(EXIT_STATUS_S)  # it comes after the end of the output; a closed channel sets this too
        status = channel.recv_exit_status() if channel.exit_status_ready() else -1
        said = own_words(channel.recv_stderr(ERROR_BYTES)) if channel.recv_stderr_ready() else ""
        for secret in self._payload.secrets:
            said = said.replace(secret, "(secret)")
        error = not_begun(self._ssh_target, "python3", status, said, where=where, begun=self._begun)
        if error is not None:
            return error
        if not self._begun and status != -1:
            words = f"{said}\n{self._noise.decode(errors='replace')}".strip()
            return NoCommandsError("does not run commands over SSH", where=where, hint=NOT_A_SHELL, detail=words)
        if status == -1 or not said:
            hint = "run the same command again: it finishes the work"
            return HostError("the connection was cut", where=where, hint=hint, detail=said)
        return HostError(f"the agent ended with status {status}", where=where, detail=said)

    def result(self, seconds: float, phases: dict[str, float]) -> HostResult:
        """Return the outcomes by status."""
        by_status = {status: tuple(o for o in self._outcomes if o.status == status) for status in _STATUSES}
        inside = (self._end or {}).get("phases", {})
        return HostResult(
            host=self._host.name,
            ok=not by_status["failed"] and not by_status["skipped"],
            changed=by_status["changed"],
            unchanged=by_status["ok"],
            failed=by_status["failed"],
            skipped=by_status["skipped"],
            seconds=seconds,
            round_trips=self._round_trips,
            phases={**phases, **inside},
        )


_STATUSES = ("ok", "changed", "failed", "skipped")
