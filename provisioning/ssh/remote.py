"""Commands and small programs run on a host as root, over a connection that is open. Changes nothing by itself."""

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
"""How long the rest of stderr may take once the command has ended."""

NO_SUCH_COMMAND = 127
"""A shell's exit status for a program that is not there."""

SUDO_REFUSED = re.compile(
    r"^(sudo(-rs)?: |Sorry, user \S+ (is not allowed to|may not)|\S+ is not (in the sudoers file|allowed to run sudo))",
    re.MULTILINE,
)
"""How sudo and sudo-rs begin their refusals. Source: plugins/sudoers/logging.c of sudo, whose words lack its name."""

SUDO_MISSING = re.compile(r"sudo: (command )?not found|command not found: sudo")
"""As bash, dash and zsh say it."""

NEEDED = {"python3": "python3 (3.8 or newer)"}
"""What to install for a program that lacks, where its name alone does not say it."""


class ConnectionCutError(HostError):
    """The connection ended before the command did."""

    def __init__(self, host: SshTarget) -> None:
        super().__init__("the connection was cut", where=host.name, hint="run the same command again")


class NoCommandsError(HostError):
    """What answers takes the login and runs no command."""


def run_program(connection: "fabric.Connection", host: SshTarget, name: str, *arguments: str) -> str:
    """Run provisioning/programs/<name>.py and return what it wrote. Raises HostError when it fails.

    `arguments` are seen by every user of the host, so they hold no secret.
    """
    return "".join(stream(connection, host, ("python3", "-I", "-", *arguments), stdin=program(name)))


def ask_program(connection: "fabric.Connection", host: SshTarget, name: str, *arguments: str) -> Any:
    """Run provisioning/programs/<name>.py and return the JSON that it printed. Raises HostError."""
    return read_json(run_program(connection, host, name, *arguments), where=host.name)


def as_root(host: SshTarget, argv: Sequence[str]) -> str:
    """Return the line that a login shell of the host is given to run `argv` as root, framed."""
    command = framed(argv)
    return shlex.join(command if host.user == "root" else ("sudo", "-n", *command))


def stream(connection: "fabric.Connection", host: SshTarget, argv: Sequence[str], *, stdin: str = "") -> Iterator[str]:
    """Yield what `argv` writes, in pieces as they come; what login scripts print before it is left out.

    Raises HostError when it exits with another status than 0.
    """
    frame = Frame()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a letter may lie across two blocks
    said = bytearray()
    channel: paramiko.Channel | None = None
    try:
        channel = connection.transport.open_session()
        channel.exec_command(as_root(host, argv))
        reader = threading.Thread(target=_read_stderr, args=(channel, said), daemon=True)
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
            raise _failed(host, argv, status, bytes(said), frame)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise ConnectionCutError(host) from error
    finally:
        if channel is not None:
            channel.close()


def _read_stderr(channel: paramiko.Channel, said: bytearray) -> None:
    """Add to `said` what comes on stderr, up to its end: a host that may send no more of it would wait for ever."""
    with contextlib.suppress(OSError, EOFError):
        while block := channel.recv_stderr(BLOCK_BYTES):
            said += block
            del said[:-NOISE_BYTES]


def _failed(host: SshTarget, argv: Sequence[str], status: int, stderr: bytes, frame: Frame) -> HostError:
    """Return why the command ended with `status`, or was never run."""
    if status < 0:
        return ConnectionCutError(host)
    said = own_words(stderr)
    error = not_begun(host, argv[0], status, said, where=host.name, begun=frame.begun)
    if error is not None:
        return error
    if not frame.begun:
        return _no_commands(host, frame, said)
    return HostError(f"{argv[0]} ended with status {status}", where=host.name, detail=said)


def _no_commands(host: SshTarget, frame: Frame, said: str) -> NoCommandsError:
    """Return that the host took the login, and that our command did not begin."""
    words = f"{said}\n{frame.noise.decode(errors='replace')[-DETAIL_CHARS:]}".strip()
    return NoCommandsError("does not run commands over SSH", where=host.name, hint=NOT_A_SHELL, detail=words)


def not_begun(
    host: SshTarget, program: str, status: int, said: str, *, where: str, begun: bool = False
) -> HostError | None:
    """Return why `program` did not even begin, from the shell's status and its words; none when it began.

    `begun`: sudo let the command through, so no word of sudo's is the cause.
    """
    said = without_warnings(said)
    if (status == NO_SUCH_COMMAND and program in said) or f"sudo: {program}: command not found" in said:
        hint = f"install {NEEDED.get(program, program)} there"
        return HostError(f"has no {program}", where=where, hint=hint, detail=said)
    if begun or status == 0:
        return None
    if SUDO_MISSING.search(said):
        return HostError("has no sudo", where=where, hint="install sudo there, or log in as root", detail=said)
    if SUDO_REFUSED.search(said):
        hint = f"let {host.user} use sudo without a password, or log in as root"
        return HostError("sudo refused", where=where, hint=hint, detail=said)
    return None
