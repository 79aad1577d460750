"""Runs commands and small programs on a host as root, over an open connection."""

import codecs
import contextlib
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import paramiko

from core.errors import HostError
from provisioning.programs import program
from provisioning.ssh.host_output import (
    DETAIL_CHARS,
    NOISE_BYTES,
    NOT_A_SHELL,
    Frame,
    framed,
    own_words,
    read_json,
    without_warnings,
)
from provisioning.ssh.target import SshTarget

if TYPE_CHECKING:
    import fabric

BLOCK_BYTES = 64 * 1024
STDERR_S = 10
"""How long the rest of stderr may take after the command has ended."""

NO_SUCH_COMMAND = 127
"""A shell's exit status for a missing program."""

SUDO_REFUSED = re.compile(
    r"^(sudo(-rs)?: |Sorry, user \S+ (is not allowed to|may not)|\S+ is not (in the sudoers file|allowed to run sudo))",
    re.MULTILINE,
)
"""How refusals of sudo and sudo-rs begin. Source: plugins/sudoers/logging.c of sudo, whose messages lack its name."""

SUDO_MISSING = re.compile(r"sudo: (command )?not found|command not found: sudo")
"""As bash, dash and zsh print it."""

NEEDED = {"python3": "python3 (3.8 or newer)"}
"""What to install for a missing program, if its name does not say it."""


class ConnectionCutError(HostError):
    """The connection ended before the command did."""

    def __init__(self, host: SshTarget) -> None:
        super().__init__("the connection was cut", where=host.name, hint="run the same command again")


class NoCommandsError(HostError):
    """The server accepts the login but runs no command."""


def run_program(connection: "fabric.Connection", host: SshTarget, name: str, *arguments: str) -> str:
    """Run provisioning/programs/<name>.py and return what it wrote. Raises HostError if it fails.

    Every user of the host can see `arguments`, so they hold no secret.
    """
    return "".join(stream(connection, host, ("python3", "-I", "-", *arguments), stdin=program(name)))


def ask_program(connection: "fabric.Connection", host: SshTarget, name: str, *arguments: str) -> Any:
    """Run provisioning/programs/<name>.py and return the JSON that it printed. Raises HostError."""
    return read_json(run_program(connection, host, name, *arguments), where=host.name)


def as_root(host: SshTarget, argv: Sequence[str]) -> str:
    """Return the line with which a login shell of the host runs `argv` as root, framed."""
    command = framed(argv)
    return shlex.join(command if host.user == "root" else ("sudo", "-n", *command))


def stream(connection: "fabric.Connection", host: SshTarget, argv: Sequence[str], *, stdin: str = "") -> Iterator[str]:
    """Yield the output of `argv` in pieces as they come, without what login scripts print before it.

    Raises HostError if it exits with another status than 0.
    """
    frame = Frame()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a character may span two blocks
    stderr = bytearray()
    channel: paramiko.Channel | None = None
    try:
        channel = connection.transport.open_session()
        channel.exec_command(as_root(host, argv))
        reader = threading.Thread(target=_read_stderr, args=(channel, stderr), daemon=True)
        reader.start()
        channel.sendall(stdin.encode())
        channel.shutdown_write()
        while block := channel.recv(BLOCK_BYTES):
            if text := decoder.decode(frame.take(block)):
                yield text
            if frame.is_drowned:
                raise _no_commands(host, frame, "")
        status = channel.recv_exit_status()
        if status != 0 or not frame.begun:
            reader.join(STDERR_S)
            raise _failed(host, argv, status, bytes(stderr), frame)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise ConnectionCutError(host) from error
    finally:
        if channel is not None:
            channel.close()


def _read_stderr(channel: paramiko.Channel, stderr: bytearray) -> None:
    """Append stderr to `stderr`, up to its end: unread, it would block the host when the window is full."""
    with contextlib.suppress(OSError, EOFError):
        while block := channel.recv_stderr(BLOCK_BYTES):
            stderr += block
            del stderr[:-NOISE_BYTES]


def _failed(host: SshTarget, argv: Sequence[str], status: int, stderr: bytes, frame: Frame) -> HostError:
    """Return why the command ended with `status`, or never ran."""
    if status < 0:
        return ConnectionCutError(host)
    output = own_words(stderr)
    error = not_begun(host, argv[0], status, output, where=host.name, begun=frame.begun)
    if error is not None:
        return error
    if not frame.begun:
        return _no_commands(host, frame, output)
    return HostError(f"{argv[0]} ended with status {status}", where=host.name, detail=output)


def _no_commands(host: SshTarget, frame: Frame, output: str) -> NoCommandsError:
    """Return the error that the host accepted the login but did not run the command."""
    words = f"{output}\n{frame.noise.decode(errors='replace')[-DETAIL_CHARS:]}".strip()
    return NoCommandsError("does not run commands over SSH", where=host.name, hint=NOT_A_SHELL, detail=words)


def not_begun(
    host: SshTarget, program: str, status: int, output: str, *, where: str, begun: bool = False
) -> HostError | None:
    """Return why `program` did not start, from the shell's status and output; None if it started.

    `begun`: sudo ran the command, so sudo's output is not the cause.
    """
    output = without_warnings(output)
    if (status == NO_SUCH_COMMAND and program in output) or f"sudo: {program}: command not found" in output:
        hint = f"install {NEEDED.get(program, program)} there"
        return HostError(f"has no {program}", where=where, hint=hint, detail=output)
    if begun or status == 0:
        return None
    if SUDO_MISSING.search(output):
        return HostError("has no sudo", where=where, hint="install sudo there, or log in as root", detail=output)
    if SUDO_REFUSED.search(output):
        hint = f"let {host.user} use sudo without a password, or log in as root"
        return HostError("sudo refused", where=where, hint=hint, detail=output)
    return None
