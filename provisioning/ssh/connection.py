"""One Fabric connection to a host whose keys are known beforehand.

Trusts the host's `host_keys` only. The user's known_hosts and ssh_config are not read, so that two people get the same
result; an ssh_config that the inventory names is read. Runs nothing on the host. Import it late: fabric and paramiko
take 0.3 s.
"""

import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import fabric
import paramiko
from paramiko.hostkeys import HostKeyEntry

from core.errors import HostError
from core.ports import SSH_PORT
from provisioning.ssh.login_keys import LoginKey, Offer, forget_login, known_login, note_login, offered_keys
from provisioning.ssh.route import Route, open_proxy, route
from provisioning.ssh.target import SshTarget

CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 30
KEEPALIVE_S = 10
MAX_CALLS = 8
"""How many connections may be made to offer all keys of an agent: sshd hangs up after 6 keys, or fewer."""
UNANSWERED_MAX_MS = 60_000
"""How long sent bytes may stay unacknowledged; with keep-alives there always are some."""

# paramiko also logs a traceback for each error that it raises; without a handler Python would print it on stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class NoAnswerError(HostError):
    """Nothing answers at the host's address: it is down, booting, or unreachable."""


class LoginError(HostError):
    """There is no key to log in with, or the host accepts none."""


class OtherHostError(HostError):
    """The host that answers has none of the trusted host keys."""


@contextlib.contextmanager
def connect(host: SshTarget) -> Iterator[fabric.Connection]:
    """Yield an open connection, closed afterwards. Raises HostError for every SSH failure."""
    connection = open_connection(host)
    try:
        yield connection
    finally:
        connection.close()


def open_connection(host: SshTarget) -> fabric.Connection:
    """Return an open connection that the caller closes. Raises HostError."""
    where = f"{host.name} ({host.user}@{host.address}:{host.ssh_port})"
    way = route(host)
    if host.identity_file is not None:
        return _logged_in(host, way, [LoginKey(_read_key(host, where), str(host.identity_file))], where)
    try:
        with offered_keys(host, way.identity_files) as keys:
            return _logged_in(host, way, keys, where)
    except LoginError:
        if known_login(host) is None:
            raise
    forget_login(host)  # the host no longer accepts the noted key
    with offered_keys(host, way.identity_files) as keys:
        return _logged_in(host, way, keys, where)


def _logged_in(host: SshTarget, way: Route, keys: list[LoginKey], where: str) -> fabric.Connection:
    """Return a connection logged in with one of `keys`; if sshd hangs up after a few, connect again with the rest."""
    for _ in range(MAX_CALLS):
        offer = Offer(host.user, keys)
        try:
            connection = _called(host, way, offer, where)
        except paramiko.SSHException as error:
            if isinstance(error, paramiko.AuthenticationException) and offer.left:
                keys = offer.left
                continue
            if not keys and isinstance(error, paramiko.AuthenticationException):
                what = "there is no key to log in with: neither the SSH agent nor ~/.ssh/id_* has one"
                hint = "name a private key as the host's identity_file in the inventory"
                raise LoginError(what, where=where, hint=hint) from error
            raise _in_words(error, host, where) from error
        if host.identity_file is None and offer.taken is not None:
            note_login(host, offer.taken)
        return connection
    what = f"login as {host.user} refused with the first keys of the SSH agent"
    raise LoginError(what, where=where, hint="name the right private key as the host's identity_file")


def _called(host: SshTarget, way: Route, offer: Offer, where: str) -> fabric.Connection:
    """Return an open connection after one attempt. Raises paramiko's SSHException, or HostError."""
    config = fabric.Config(overrides={"load_ssh_configs": False}, lazy=True)
    plug = open_socket(way, where)
    login: dict[str, Any] = {"banner_timeout": ANSWER_TIMEOUT_S, "auth_timeout": ANSWER_TIMEOUT_S}
    login |= {"sock": plug, "auth_strategy": offer}
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
        if isinstance(error, OSError | EOFError) and not isinstance(error, paramiko.SSHException):
            raise _in_words(error, host, where) from error
        raise
    connection.transport.set_keepalive(KEEPALIVE_S)
    return connection


def open_socket(way: Route, where: str) -> socket.socket:
    """Connect with TCP_NODELAY: otherwise SSH's small messages wait for each other's acknowledgement (44 ms)."""
    if way.proxy:
        return open_proxy(way.proxy, where)
    try:
        plug = socket.create_connection((way.address, way.port), timeout=CONNECT_TIMEOUT_S)
    except TimeoutError as error:
        raise NoAnswerError(
            f"no answer within {CONNECT_TIMEOUT_S} s",
            where=where,
            hint=f"is it running, and may you reach port {way.port}?",
        ) from error
    except ConnectionRefusedError as error:
        raise NoAnswerError("connection refused", where=where, hint="is sshd running there, on this port?") from error
    except OSError as error:
        hint = "check its address, and the network between"
        raise HostError(f"cannot connect: {error.strerror or error}", where=where, hint=hint) from error
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MAX_MS)
    return plug


def _read_key(host: SshTarget, where: str) -> paramiko.PKey:
    path = str(host.identity_file)
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        hint = "name a private key that you may read"
        raise HostError(f"identity file {path} cannot be read ({error.strerror})", where=where, hint=hint) from error
    except Exception as error:  # paramiko and cryptography raise a dozen exception types for an unusable file
        hint = "name a private key without a passphrase, or leave identity_file out and use the SSH agent"
        raise HostError(
            f"identity file {path} is not a usable private key ({error})", where=where, hint=hint
        ) from error


def _trust(client: paramiko.SSHClient, host: SshTarget) -> None:
    """Trust the host's `host_keys` and no others."""
    name = (
        host.address if host.ssh_port == SSH_PORT else f"[{host.address}]:{host.ssh_port}"
    )  # the name under which paramiko looks it up
    for line in host.host_keys:
        try:
            entry = HostKeyEntry.from_line(f"{name} {line}")
        except Exception:  # paramiko and cryptography raise a dozen exception types for an invalid key
            entry = None
        if entry is None or entry.key is None:
            hint = "write the host's line of `ssh-keyscan` into host_keys"
            raise HostError(f"host key {line[:40]}… cannot be used", where=host.name, hint=hint)
        client.get_host_keys().add(name, entry.key.get_name(), entry.key)


def _in_words(error: Exception, host: SshTarget, where: str) -> HostError:
    if isinstance(error, paramiko.BadHostKeyException):
        key = error.key
        return OtherHostError(
            f"the host key is not the known one (got {key.get_name()} {key.fingerprint})",
            where=where,
            hint="another machine may be answering; if this host was reinstalled, write its new key into host_keys of "
            f"the inventory: {key.get_name()} {key.get_base64()}",
        )
    if isinstance(error, paramiko.BadAuthenticationType):
        wanted = ", ".join(error.allowed_types)
        what = f"login as {host.user} needs more than a key: {wanted}"
        hint = "allow this login with a key alone (sshd's AuthenticationMethods and PubkeyAuthentication)"
        return LoginError(what, where=where, hint=hint)
    if isinstance(error, paramiko.AuthenticationException):
        tried = host.identity_file or "the SSH agent's keys and the usual files"
        return LoginError(
            f"login as {host.user} with {tried} refused", where=where, hint="check user and identity_file"
        )
    if isinstance(error, TimeoutError):
        return HostError(
            "SSH did not answer in time", where=where, hint="the host may be overloaded: run the command again later"
        )
    what = f"SSH failed: {error or type(error).__name__}"
    return HostError(what, where=where, hint="does sshd listen there? `ssh -v` to the same address shows more")
