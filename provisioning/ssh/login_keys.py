"""Which keys a login offers, in which order. Once a key has worked, only that key is offered.

sshd hangs up after MaxAuthTries refused keys, so offering all keys of an agent can fail although one of them is right.
The public half of the key that worked is noted in .state/logins/, per operator.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy, SourceResult

from core.files import write_atomically
from core.paths import state_dir
from core.reading.strict_json import parse_object
from provisioning.ssh.target import SshTarget

USUAL_FILES = ("id_ed25519", "id_ecdsa", "id_rsa")
"""In ~/.ssh, as OpenSSH tries them."""

LOGINS_DIR = "logins"


@dataclass(frozen=True)
class LoginKey:
    """A key that may be offered."""

    key: Any
    """A paramiko.PKey, or the agent's handle of one."""
    file: str = ""
    """The file of the private half; empty for a key of the SSH agent."""

    @property
    def public(self) -> str:
        """The public half as in authorized_keys, without a comment."""
        name = str(self.key.get_name()).removesuffix("-cert-v01@openssh.com")
        return f"{name} {self.key.get_base64()}"


class Offer(AuthStrategy):
    """Offers keys one by one until the server accepts one or hangs up."""

    def __init__(self, user: str, keys: Sequence[LoginKey]) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._user = user
        self.left = list(keys)
        """The keys not offered yet."""
        self.taken: LoginKey | None = None

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield nothing: `authenticate` has its own loop, because paramiko's continues on a closed connection."""
        yield from ()

    def authenticate(self, transport: paramiko.Transport) -> list[SourceResult]:
        """Log in. Raises AuthenticationException if no key was accepted, or the connection ended before the last."""
        refusal = paramiko.AuthenticationException("no key was accepted")
        while self.left:
            candidate = self.left.pop(0)
            try:
                more = transport.auth_publickey(self._user, candidate.key)
            except paramiko.BadAuthenticationType:  # the server accepts passwords only
                self.left.clear()
                raise
            except paramiko.SSHException as error:
                refusal = paramiko.AuthenticationException(str(error))
                if not transport.is_active():
                    break
                continue
            if more:  # the key is right, but sshd's AuthenticationMethods needs more
                self.left.clear()
                raise paramiko.BadAuthenticationType("partial", more)
            self.taken = candidate
            return []
        raise refusal


@contextlib.contextmanager
def offered_keys(host: SshTarget, named: Sequence[Path]) -> Iterator[list[LoginKey]]:
    """Yield the keys to offer to `host`: `named` first, then the SSH agent's keys and the usual files.

    A key that worked before is the only one: other keys cost tries.
    """
    agent = _agent()
    try:
        held = [LoginKey(each) for each in agent.get_keys()] if agent is not None else []
        usual = [Path.home() / ".ssh" / name for name in USUAL_FILES]
        found = _distinct([*_from_files(named), *held, *_from_files(usual)])
        known = known_login(host)
        alone = [each for each in found if known is not None and each.public == known["key"]]
        yield alone or found
    finally:
        if agent is not None:
            agent.close()


def known_login(host: SshTarget) -> dict[str, str] | None:
    """Return the `key` that worked last time, and its `file`; None without a note."""
    try:
        noted = parse_object(_note(host).read_bytes())
        return {"key": str(noted["key"]), "file": str(noted["file"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note_login(host: SshTarget, key: LoginKey) -> None:
    """Note that `key` worked. If the note cannot be written, the next login only needs more tries."""
    noted = {"key": key.public, "file": key.file}
    if known_login(host) != noted:
        with contextlib.suppress(OSError):
            write_atomically(_note(host), json.dumps(noted) + "\n", mode=0o600)


def forget_login(host: SshTarget) -> None:
    """Forget the key that worked the last time."""
    with contextlib.suppress(OSError):
        _note(host).unlink(missing_ok=True)


def _note(host: SshTarget) -> Path:
    return state_dir() / LOGINS_DIR / (quote(f"{host.user}@{host.address}", safe="@") + f":{host.ssh_port}.json")


def _agent() -> paramiko.Agent | None:
    """Return the SSH agent; None if none answers."""
    try:
        return paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return None


def _from_files(paths: Sequence[Path]) -> Iterator[LoginKey]:
    """Yield the keys that can be read without a passphrase."""
    for path in paths:
        if os.access(path, os.R_OK):
            with contextlib.suppress(Exception):  # a dozen exception types, for a passphrase or another file
                yield LoginKey(paramiko.PKey.from_path(str(path)), str(path))


def _distinct(keys: Sequence[LoginKey]) -> list[LoginKey]:
    """Return each key once, at its first place."""
    first: dict[str, LoginKey] = {}
    for each in keys:
        first.setdefault(each.public, each)
    return list(first.values())
