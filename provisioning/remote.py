"""Commands and small programs run on a host as root, over a connection that is open. Changes nothing by itself."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from core.errors import HostError
from provisioning.programs import program

if TYPE_CHECKING:
    import fabric
    import paramiko

    from provisioning.connection import Reachable

BLOCK_BYTES = 64 * 1024
NO_SUCH_COMMAND = 127
"""A shell's exit status for a program that is not there."""

NEEDED = {"python3": "python3 (3.8 or newer)"}
"""What to install for a program that lacks, where its name alone does not say it."""


class ConnectionCutError(HostError):
    """The connection ended before the command did."""

    def __init__(self, host: "Reachable") -> None:
        super().__init__("the connection was cut", where=host.name, hint="run the same command again")


def run_program(connection: "fabric.Connection", host: "Reachable", name: str, *arguments: str) -> str:
    """Run provisioning/programs/<name>.py and return what it wrote. Raises HostError when it fails.

    `arguments` are seen by every user of the host, so they hold no secret.
    """
    return "".join(stream(connection, host, ("python3", "-I", "-", *arguments), stdin=program(name)))


def stream(
    connection: "fabric.Connection", host: "Reachable", argv: Sequence[str], *, stdin: str = ""
) -> Iterator[str]:
    """Yield what `argv` writes, in pieces as they come. Raises HostError when it exits with another status than 0."""
    command = shlex.join(argv if host.user == "root" else ("sudo", "-n", *argv))
    channel = connection.transport.open_session()
    try:
        channel.exec_command(command)
        channel.sendall(stdin.encode())
        channel.shutdown_write()
        while block := channel.recv(BLOCK_BYTES):
            yield block.decode(errors="replace")
        status = channel.recv_exit_status()
        if status != 0:
            raise _failed(host, argv, status, _stderr(channel))
    except (OSError, EOFError) as error:
        raise ConnectionCutError(host) from error
    finally:
        channel.close()


def _stderr(channel: "paramiko.Channel") -> str:
    """Return what is left on the channel's stderr."""
    said = b""
    while channel.recv_stderr_ready():
        said += channel.recv_stderr(BLOCK_BYTES)
    return said.decode(errors="replace").strip()


def _failed(host: "Reachable", argv: Sequence[str], status: int, said: str) -> HostError:
    """Return why the command ended with `status`."""
    if status < 0:
        return ConnectionCutError(host)
    error = not_begun(host, argv[0], status, said, where=host.name)
    return error or HostError(f"{argv[0]} ended with status {status}", where=host.name, detail=said)


def not_begun(host: "Reachable", program: str, status: int, said: str, *, where: str) -> HostError | None:
    """Return why `program` did not even begin, from the shell's status and its words; none when it began."""
    if (status == NO_SUCH_COMMAND and program in said) or f"sudo: {program}: command not found" in said:
        hint = f"install {NEEDED.get(program, program)} there"
        return HostError(f"has no {program}", where=where, hint=hint, detail=said)
    if "sudo:" in said:
        hint = f"let {host.user} use sudo without a password, or log in as root"
        return HostError("sudo refused", where=where, hint=hint, detail=said)
    return None
