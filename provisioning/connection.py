"""One Fabric connection to a host whose keys are known beforehand.

Trusts the host's `host_keys` and nothing else: neither known_hosts nor ssh_config of the user is read, so that two
people get the same answer. Does not run anything on the host. Import it late: fabric and paramiko take 0.3 s.
"""

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import fabric
import paramiko
from paramiko.hostkeys import HostKeyEntry

from core.errors import HostError
from provisioning.known_hosts import known_as

CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 30
KEEPALIVE_S = 10
NO_KEY = "No authentication methods available"
"""What paramiko raises when it has found nothing to try."""
UNANSWERED_MAX_MS = 60_000
"""How long sent bytes may stay unacknowledged; the keep-alives see to it that there are some."""

# paramiko logs a traceback for what it also raises; without a handler Python would print it on stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class NoAnswerError(HostError):
    """Nothing answers at the host's address: it is down, still booting, or out of reach."""


class LoginError(HostError):
    """There is no key to log in with, or the host knows none of them."""


class OtherHostError(HostError):
    """What answers at the host's address has none of its keys."""


class Reachable(Protocol):
    """How a host is reached: what a connection needs of a HostRecord."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def ssh_port(self) -> int: ...  # noqa: D102
    @property
    def user(self) -> str: ...  # noqa: D102
    @property
    def host_keys(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def identity_file(self) -> Path | None: ...  # noqa: D102


@contextlib.contextmanager
def connect(host: Reachable) -> Iterator[fabric.Connection]:
    """Yield an open connection, closed afterwards. Raises HostError in words for everything that SSH can refuse."""
    connection = open_connection(host)
    try:
        yield connection
    finally:
        connection.close()


def open_connection(host: Reachable) -> fabric.Connection:
    """Return an open connection that the caller closes. Raises HostError in words."""
    where = f"{host.name} ({host.user}@{host.address}:{host.ssh_port})"
    config = fabric.Config(overrides={"load_ssh_configs": False}, lazy=True)
    login: dict[str, Any] = {"banner_timeout": ANSWER_TIMEOUT_S, "auth_timeout": ANSWER_TIMEOUT_S}
    if host.identity_file is not None:
        login |= {"pkey": _read_key(host, where), "allow_agent": False, "look_for_keys": False}
    plug = open_socket(host, where)
    login["sock"] = plug
    connection = fabric.Connection(
        host.address, user=host.user, port=host.ssh_port, config=config, connect_kwargs=login
    )
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    _trust(connection.client, host)
    try:
        connection.open()
    except BaseException as error:
        plug.close()
        connection.client.close()
        if isinstance(error, paramiko.SSHException | OSError | EOFError):
            raise _in_words(error, host, where) from error
        raise
    connection.transport.set_keepalive(KEEPALIVE_S)
    return connection


def open_socket(host: Reachable, where: str) -> socket.socket:
    """Connect with TCP_NODELAY: SSH's small messages would else wait for each other's acknowledgement (44 ms)."""
    try:
        plug = socket.create_connection((host.address, host.ssh_port), timeout=CONNECT_TIMEOUT_S)
    except TimeoutError as error:
        raise NoAnswerError(
            f"no answer within {CONNECT_TIMEOUT_S} s",
            where=where,
            hint=f"is it running, and may you reach port {host.ssh_port}?",
        ) from error
    except ConnectionRefusedError as error:
        raise NoAnswerError("connection refused", where=where, hint="is sshd running there, on this port?") from error
    except OSError as error:
        hint = "check its address, and the network between"
        raise HostError(f"cannot connect: {error.strerror or error}", where=where, hint=hint) from error
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MAX_MS)
    return plug


def _read_key(host: Reachable, where: str) -> paramiko.PKey:
    path = str(host.identity_file)
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        hint = "name a private key that you may read"
        raise HostError(f"identity file {path} cannot be read ({error.strerror})", where=where, hint=hint) from error
    except Exception as error:  # paramiko and cryptography raise a dozen types for a file that is no usable key
        hint = "name a private key without a passphrase, or leave identity_file out and use the SSH agent"
        raise HostError(f"identity file {path} is no usable private key ({error})", where=where, hint=hint) from error


def _trust(client: paramiko.SSHClient, host: Reachable) -> None:
    """Make the record's keys the only ones."""
    name = known_as(host)
    for line in host.host_keys:
        entry = HostKeyEntry.from_line(f"{name} {line}")
        if entry is None or entry.key is None:
            raise HostError(f"host key {line[:40]}… is of no known type", where=host.name, hint="use `ssh-keyscan`")
        client.get_host_keys().add(name, entry.key.get_name(), entry.key)


def _in_words(error: Exception, host: Reachable, where: str) -> HostError:
    if isinstance(error, paramiko.BadHostKeyException):
        key = error.key
        return OtherHostError(
            f"the host key is not the known one (got {key.get_name()} {key.fingerprint})",
            where=where,
            hint="another machine may be answering; if this one was set up anew, write its new key into host_keys of "
            f"the inventory: {key.get_name()} {key.get_base64()}",
        )
    if isinstance(error, paramiko.AuthenticationException):
        tried = host.identity_file or "the SSH agent's keys and the usual files"
        return LoginError(
            f"login as {host.user} with {tried} refused", where=where, hint="check user and identity_file"
        )
    if isinstance(error, paramiko.SSHException) and str(error) == NO_KEY:
        what = "there is no key to log in with: the SSH agent has none, nor have the usual files (~/.ssh/id_*)"
        return LoginError(what, where=where, hint="name a private key as the host's identity_file in the inventory")
    if isinstance(error, TimeoutError):
        return HostError("SSH did not answer in time", where=where, hint="it may be overloaded: run it again later")
    what = f"SSH failed: {error or type(error).__name__}"
    return HostError(what, where=where, hint="is it sshd that listens there? `ssh -v` to the same place tells more")
