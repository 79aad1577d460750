"""The gateway's certificate and the clients' API keys.

Made and kept on the controlling machine: a CA of the checkout, one server certificate per host, one API key per client
name. A host gets its certificate with key, and of the API keys only their SHA-256. Sends nothing.
"""

import hashlib
import json
import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.console import say
from core.errors import ConfigError, UsageError
from core.files import write_atomically
from core.paths import full_path, stack_state_dir, state_dir
from core.reading.strict_json import parse_json
from core.waiting.one_at_a_time import one_at_a_time
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Secret
from serving.spec.gateway_fields import TlsFiles
from serving.spec.models import GatewaySpec

KEY_PREFIX = "sk-"
"""The prefix of OpenAI's keys, so that scanners for leaked keys recognise ours."""

KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The secrets that one host's gateway gets."""

    certificate: Secret
    """PEM: certificate, chain and private key in one text, so that they change together."""
    key_hashes: tuple[tuple[str, str], ...]
    """Client name and SHA-256 of its API key in hex, by name."""
    ca: Path | None
    """The CA that clients must trust. None: their system trusts it already."""
    names: tuple[str, ...]
    """Addresses and host names that the certificate is good for; clients should use the first."""


def credentials_for(stack: str, host: HostRecord, gateway: GatewaySpec, *, keep: bool = True) -> Credentials:
    """Return the credentials of `host`, made if missing or due for renewal, and written unless `keep` is false.

    Raises ConfigError for the user's certificate files if they cannot work.
    """
    from provisioning.access import certificates, tls_files  # cryptography takes 0.1 s, and most tasks need none

    now = datetime.now(UTC)
    if isinstance(gateway.tls, TlsFiles):
        names = gateway.hostnames or (host.client_address,)
        certificate = tls_files.read_users_files(gateway.tls, names, now)
        ca = full_path(gateway.tls.ca) if gateway.tls.ca else None
    else:
        names = tuple(dict.fromkeys((host.client_address, host.address, *gateway.hostnames)))
        folder = state_dir() / "ca"
        with lock_of_ca():
            path = stack_state_dir(stack) / "certificates" / f"{host.name}.pem"
            certificate = certificates.server_certificate(path, folder, names, gateway.tls.days, now, keep=keep)
        ca = folder / certificates.CA_CERTIFICATE
    keys = client_keys(stack, gateway.client_names, keep=keep)
    hashes = tuple((name, hashlib.sha256(keys[name].value.encode()).hexdigest()) for name in sorted(keys))
    return Credentials(certificate=Secret(certificate), key_hashes=hashes, ca=ca, names=names)


def keys_file(stack: str) -> Path:
    """Return the file with the API keys of `stack`, 0600: `{"client name": "sk-…"}`."""
    return stack_state_dir(stack) / "keys.json"


def client_keys(stack: str, clients: tuple[str, ...], *, keep: bool = True) -> dict[str, Secret]:
    """Return the API key of each of `clients`; makes the missing ones and never drops the keys of other names.

    New keys are written unless `keep` is false.
    """
    path = keys_file(stack)
    with _locked(path.with_name(".keys.lock")):
        kept = _read_keys(path)
        keys = kept | {name: _new_key() for name in clients if name not in kept}
        if keep and keys != kept:
            _write_keys(path, keys)
    return {name: Secret(keys[name]) for name in clients}


def drop_other_keys(stack: str, clients: tuple[str, ...]) -> None:
    """Drop and report the API keys of names that are not in `clients`. Call it when no host accepts them any more.

    Until then they are kept, so that a client that is listed again keeps its key.
    """
    path = keys_file(stack)
    with _locked(path.with_name(".keys.lock")):
        kept = _read_keys(path)
        former = sorted(set(kept) - set(clients))
        if former:
            _write_keys(path, {name: key for name, key in kept.items() if name not in former})
    for name in former:
        say(f"{stack}: client {name} is no longer in gateway.clients; its API key is dropped")


def rotate_client_key(stack: str, client: str) -> Path:
    """Give `client` a new API key; return the file it is in. The old one works until the next `provision`.

    Raises UsageError for a client that has no key.
    """
    path = keys_file(stack)
    with _locked(path.with_name(".keys.lock")):
        keys = _read_keys(path)
        if client not in keys:
            known = ", ".join(sorted(keys)) or "none yet: run `provision` first"
            raise UsageError(f"stack {stack} has no client {client!r}", where="--client", hint=f"there are: {known}")
        _write_keys(path, keys | {client: _new_key()})
    return path


def _new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def _read_keys(path: Path) -> dict[str, str]:
    """Return the keys in `path`. Raises ConfigError if the file is damaged; the message repeats none of its content."""
    try:
        keys = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        hint = "let your user read it, or move it away to get new keys"
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None
    except ValueError:
        keys = None
    if not isinstance(keys, dict) or not all(isinstance(key, str) and key for key in keys.values()):
        hint = 'write {"client name": "sk-…"}, or remove it to have new keys made'
        raise ConfigError("holds no API keys", where=str(path), hint=hint)
    return keys


def _write_keys(path: Path, keys: dict[str, str]) -> None:
    write_atomically(path, json.dumps(keys, indent=2) + "\n", mode=0o600)


def lock_of_ca() -> AbstractContextManager[None]:
    """Wait for the lock of the checkout's CA."""
    return _locked(state_dir() / "ca" / ".lock")


def _locked(path: Path) -> AbstractContextManager[None]:
    """Wait for the lock at `path`: two runs must not each make a CA, or each other's keys."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return one_at_a_time(path, "  another process is using the keys; waiting for it")
