"""An agent that waits on a host for its list. A thread connects and starts it.

Does not know the desired state, and changes nothing on the host.
"""

import threading
import zlib

import fabric
import paramiko

from core.errors import HostError
from provisioning.converge.agent_zip import agent_zip
from provisioning.ssh.remote import as_root
from provisioning.ssh.target import SshTarget
from provisioning.ssh.wait_for_ssh import open_when_up

LOADER = """\
import os, sys, zlib
stream = sys.stdin.buffer
def part(): return zlib.decompress(stream.read(int(stream.readline())))
handle = os.memfd_create("agent")
os.write(handle, part())
sys.path.insert(0, "/proc/self/fd/%d" % handle)
from agent.main import serve
sys.exit(serve(part, stream))
"""
"""Reads agent and list from stdin, so that nothing is installed and no secret is in an argument list."""


def packed(data: bytes) -> bytes:
    """Return one part as the loader reads it: its compressed length on a line, then the compressed bytes."""
    compressed = zlib.compress(data)
    return b"%d\n" % len(compressed) + compressed


class Session:
    """One agent on one host, from the first connection attempt on."""

    def __init__(self, host: SshTarget, *, patience_s: float = 0.0) -> None:
        self._host = host
        self._patience_s = patience_s
        self._given_up = threading.Event()
        self._connection: fabric.Connection | None = None
        self._channel: paramiko.Channel | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        try:
            self._connection = open_when_up(self._host, self._patience_s, self._given_up)
            self._channel = self._connection.transport.open_session()
            self._channel.exec_command(as_root(self._host, ("python3", "-ISc", LOADER)))
            self._channel.sendall(packed(agent_zip()))
        except BaseException as error:
            self._error = error

    def channel(self) -> paramiko.Channel:
        """Return the channel to the waiting agent. Raises HostError if there is none.

        A host that refuses sudo or has no Python closes the channel; its output can be read from it.
        """
        self._thread.join()
        if self._channel is not None and isinstance(self._error, OSError):
            return self._channel
        if isinstance(self._error, OSError | EOFError | paramiko.SSHException):
            what = f"SSH gave up before the agent ran: {self._error}"
            raise HostError(what, where=self._host.name, hint="run the same command again") from self._error
        if self._error is not None:
            raise self._error
        assert self._channel is not None  # noqa: S101 (the thread ended without an error)
        return self._channel

    def close(self) -> None:
        """End the connection, in any state."""
        self._given_up.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
