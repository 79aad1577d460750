"""The keys that a host shows, and the question whether to trust one.

Only the key exchange runs: no login is tried before a key is accepted.
"""

import base64
import hashlib
import sys
from collections.abc import Callable, Iterable

import paramiko

from core.console import say
from core.errors import HostError, UsageError
from provisioning.ssh.connection import ANSWER_TIMEOUT_S, open_socket
from provisioning.ssh.route import route
from provisioning.ssh.target import SshTarget

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")
"""Requested one by one, the best first: a host shows one key per key exchange. Names as in SSH's key exchange."""

YES = "yes"


def fingerprint(host_key: str) -> str:
    """Return OpenSSH's fingerprint of a key `TYPE BASE64`: `SHA256:` and 43 characters."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def shown_keys(host: SshTarget) -> tuple[str, ...]:
    """Return the keys that the host shows, as `ssh-keyscan` prints them. Raises HostError when it shows none."""
    keys = tuple(key for key in (_shown_key(host, key_type) for key_type in KEY_TYPES) if key)
    if not keys:
        raise HostError(
            "shows no host key of a known type", where=host.name, hint="check that an SSH server listens there"
        )
    return keys


def accepted_keys(keys: Iterable[str], wanted: str, ask: Callable[[str], str] | None, *, name: str) -> tuple[str, ...]:
    """Return the one key that a person accepts: by its fingerprint on the command line, or by answering the question.

    Raises UsageError if nobody accepts one, HostError if no key has the fingerprint.
    """
    by_print = {fingerprint(key): key for key in keys}
    if wanted:
        if wanted not in by_print:
            seen = ", ".join(by_print)
            hint = "another machine may be answering; compare with the key on the host itself"
            raise HostError(f"shows {seen}, not {wanted}", where=name, hint=hint)
        return (by_print[wanted],)
    best, key = next(iter(by_print.items()))
    say(f"{name} shows the host key {best} ({key.split()[0]}).")
    say("On the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    if ask is None:
        raise UsageError(
            "without a terminal nobody can confirm the host key",
            where=name,
            hint=f'if the host has this key, run it again with ARGS="--host-key {best}"',
        )
    if ask(f"Is this the host's key? Write {YES} to trust it from now on: ").strip() != YES:
        raise UsageError("the host key was not accepted", where=name, hint="nothing was sent or written")
    return (key,)


def terminal() -> Callable[[str], str] | None:
    """Return the function that asks the person at the terminal; None without a terminal."""
    if not sys.stdin.isatty():
        return None

    def ask(question: str) -> str:
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask


def _shown_key(host: SshTarget, key_type: str) -> str:
    """Return the key of one type; empty if the host has none. Raises HostError if it does not answer in time."""
    where = f"{host.address}:{host.ssh_port}"
    plug = open_socket(route(host), where)
    try:
        transport = paramiko.Transport(plug)
        transport.banner_timeout = 2 * ANSWER_TIMEOUT_S  # so that start_client's limit comes first
        transport.get_security_options().key_types = (key_type,)
        transport.start_client(timeout=ANSWER_TIMEOUT_S)  # returns without an error when time is up
        if transport.is_active() and transport.host_key is None:
            hint = "it may be overloaded: run it again later"
            raise HostError(f"SSH did not answer within {ANSWER_TIMEOUT_S} s", where=where, hint=hint)
        key = transport.get_remote_server_key()
        return f"{key.get_name()} {key.get_base64()}"
    except (paramiko.SSHException, EOFError, OSError):
        return ""
    finally:
        plug.close()
