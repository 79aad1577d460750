"""An SSH server on loopback: real protocol, keys only, a limit of tries, commands run by bash as the tests' user.

What it cannot show: sudo, PAM, and sshd's own settings; tests/machine has those.
"""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import paramiko
from paramiko import common

GONE = (OSError, EOFError, paramiko.SSHException)
"""Exceptions of paramiko after a disconnect, which may happen at any moment and is not a fault of the server."""


@dataclass
class SshServer:
    """One server; its fields may be changed between logins."""

    allowed: list[paramiko.PKey] = field(default_factory=list)
    max_tries: int = 6
    """sshd's MaxAuthTries: the server disconnects after so many refused keys."""
    start_file: str = ""
    """The content of a `.bashrc`."""
    tries: list[list[str]] = field(default_factory=list)
    """The keys that were offered, one list for each connection."""
    users: list[str] = field(default_factory=list)
    forwards: list[tuple[str, int]] = field(default_factory=list)
    """Targets that the server forwarded to (`ssh -W`), like a jump host."""
    port: int = 0
    host_key: paramiko.PKey = field(default_factory=lambda: paramiko.ECDSAKey.generate(bits=256))

    @property
    def host_key_line(self) -> str:
        """The host key in an inventory's format."""
        return f"{self.host_key.get_name()} {self.host_key.get_base64()}"


@contextlib.contextmanager
def running_ssh_server(**settings: object) -> Iterator[SshServer]:
    """Yield a server that answers."""
    server = SshServer(**settings)  # type: ignore[arg-type]
    transports: list[paramiko.Transport] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]

        def take_calls() -> None:
            while True:
                try:
                    plug, _ = listener.accept()
                except OSError:
                    return
                transport = paramiko.Transport(plug)
                transport.add_server_key(server.host_key)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transports.append(transport)
                    transport.start_server(server=_Caller(server, transport), event=threading.Event())

        threading.Thread(target=take_calls, daemon=True).start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for transport in transports:
                transport.close()


class _Caller(paramiko.ServerInterface):
    """One connection."""

    def __init__(self, server: SshServer, transport: paramiko.Transport) -> None:
        self._server = server
        self._transport = transport
        self._offered: list[str] = []
        server.tries.append(self._offered)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._offered.append(key.get_base64())
        self._server.users.append(username)
        if key.get_base64() in [each.get_base64() for each in self._server.allowed]:
            return common.AUTH_SUCCESSFUL
        if len(self._offered) >= self._server.max_tries:
            self._transport.close()
        return common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return common.OPEN_SUCCEEDED if kind == "session" else common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self._server.forwards.append(destination)
        plug = socket.create_connection(destination)
        threading.Thread(target=self._forward, args=(chanid, plug), daemon=True).start()
        return int(common.OPEN_SUCCEEDED)

    def _forward(self, chanid: int, plug: socket.socket) -> None:
        """Pass bytes on in both directions until one side ends."""
        channel = self._transport.accept(10)
        assert channel
        assert channel.get_id() == chanid

        def back() -> None:
            with contextlib.suppress(*GONE):
                while block := plug.recv(1 << 16):
                    channel.sendall(block)
            with contextlib.suppress(*GONE):
                channel.close()

        threading.Thread(target=back, daemon=True).start()
        with contextlib.suppress(*GONE), plug:
            while block := channel.recv(1 << 16):
                plug.sendall(block)
            plug.shutdown(socket.SHUT_RDWR)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        text = f"{self._server.start_file}\n{command.decode()}"
        threading.Thread(target=_run, args=(channel, text), daemon=True).start()
        return True


def _send_stderr(channel: paramiko.Channel, stderr: IO[bytes]) -> None:
    """Send stderr, beside stdout."""
    with contextlib.suppress(*GONE):
        while block := stderr.read1(1 << 16):  # type: ignore[attr-defined]
            channel.sendall_stderr(block)


def _run(channel: paramiko.Channel, text: str) -> None:
    """Run a command like a login shell; stdin and stdout use the channel."""
    with subprocess.Popen(
        ["bash", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        beside = threading.Thread(target=_send_stderr, args=(channel, process.stderr), daemon=True)
        beside.start()
        with contextlib.suppress(*GONE):
            while block := channel.recv(1 << 16):
                process.stdin.write(block)
            process.stdin.close()
        with contextlib.suppress(*GONE):
            while block := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                channel.sendall(block)
        if channel.closed:
            process.kill()
        process.wait()
        beside.join()
    with contextlib.suppress(*GONE):
        channel.send_exit_status(process.returncode)
        channel.close()
