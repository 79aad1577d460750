"""The user's own certificate and key, checked before a host gets them.

Does not check who signed them: clients decide which CA they trust. Import it late, because it imports cryptography.
"""

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from core.errors import ConfigError
from core.files import others_can_read
from core.paths import full_path
from core.reading.regular_files import read_small
from provisioning.access.certificates import certificate_pem, key_pem, names_of
from serving.spec.gateway_fields import TlsFiles


def read_users_files(files: TlsFiles, names: tuple[str, ...], now: datetime) -> str:
    """Return the user's chain and private key as one PEM.

    Raises ConfigError when a file cannot be read, the key does not match or others can read it, or the certificate is
    out of date or not good for one of `names`.
    """
    chain_path, key_path = full_path(files.certificate), full_path(files.key)
    chain = _read_chain(chain_path, "gateway.tls.certificate")
    key = _read_key(key_path)
    if chain[0].public_key() != key.public_key():
        raise ConfigError(
            f"does not belong to the key {key_path}",
            where=f"gateway.tls.certificate: {chain_path}",
            hint="put the server's own certificate first, or name its key",
        )
    _check_dates(chain[0], chain_path, now)
    _check_names(chain[0], chain_path, names)
    if files.ca:
        _read_chain(full_path(files.ca), "gateway.tls.ca")
    return "".join(map(certificate_pem, chain)) + key_pem(key)


def _covers(pattern: str, name: str) -> bool:
    """Return whether `pattern` of a certificate is good for `name`; `*` stands for one whole label."""
    if pattern.startswith("*."):
        return name.partition(".")[2].lower() == pattern[2:].lower()
    return pattern.lower() == name.lower()


def _check_dates(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    where = f"gateway.tls.certificate: {path}"
    if now >= certificate.not_valid_after_utc:
        raise ConfigError(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}", where=where, hint="renew it")
    if now < certificate.not_valid_before_utc:
        since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise ConfigError(f"is not valid before {since}", where=where, hint="check this machine's clock")


def _check_names(certificate: x509.Certificate, path: Path, names: tuple[str, ...]) -> None:
    good_for = names_of(certificate)
    for name in names:
        if not any(_covers(pattern, name) for pattern in good_for):
            raise ConfigError(
                f"is good for {', '.join(good_for) or 'no name'}, not for {name}",
                where=f"gateway.tls.certificate: {path}",
                hint="set gateway.hostnames to names in the certificate, or get one for this name",
            )


def _read_chain(path: Path, field: str) -> list[x509.Certificate]:
    """Return the certificates in `path`, at least one."""
    try:
        return x509.load_pem_x509_certificates(_read(path, field))
    except ValueError:
        raise ConfigError(
            "holds no certificate", where=f"{field}: {path}", hint="write a certificate in PEM there"
        ) from None


def _read_key(path: Path) -> PrivateKeyTypes:
    """Return the private key in `path`."""
    where = f"gateway.tls.key: {path}"
    data = _read(path, "gateway.tls.key")
    if others_can_read(path):
        raise ConfigError("can be read by others", where=where, hint=f"chmod 600 {path}")
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        hint = "remove the passphrase: nobody is there to type it when the gateway starts"
        raise ConfigError("has a passphrase", where=where, hint=hint) from None
    except ValueError:
        raise ConfigError("holds no private key", where=where, hint="write a private key in PEM there") from None


def _read(path: Path, field: str) -> bytes:
    try:
        return read_small(path)
    except OSError as error:
        hint = "relative paths start at the checkout"
        raise ConfigError(f"cannot be read ({error.strerror})", where=f"{field}: {path}", hint=hint) from error
