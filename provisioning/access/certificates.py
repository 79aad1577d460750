"""Certificates that the CA of the checkout signs, one for each host.

Takes the time as an argument, knows no host, and does not look at the user's own files (tls_files.py). Imports
cryptography, so it is imported late.
"""

import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.console import say
from core.errors import ConfigError
from core.files import write_atomically

CA_CERTIFICATE = "ca.pem"
CA_KEY = "ca.key"
CA_DAYS = 3650
CA_LAST_DAYS = 400
"""A CA that expires sooner is replaced: it would sign certificates that outlive it."""

LAST_SHARE = 1 / 3
"""A certificate with a smaller share of its life left is renewed."""

OLDER_SHARE = 1 / 4
"""A certificate of a CA that was replaced stays until this share of its life is left, so that those who must trust the
new CA have time to get it. The alert about a certificate's end comes later."""

CLOCK_SKEW = timedelta(hours=1)
"""How far a client's clock may be behind when a certificate is new."""


def server_certificate(
    path: Path,
    ca_folder: Path,
    names: tuple[str, ...],
    days: int,
    now: datetime,
    *,
    keep: bool = True,
    older: Sequence[str] | None = None,
    older_share: float = OLDER_SHARE,
) -> str:
    """Return certificate and private key for `names` as one PEM, which is kept at `path`.

    A new one is made and signed by the CA in `ca_folder` if there is none, if the names changed, or in the last third
    of its life. Without `keep` it is returned and not written.

    `older`: PEMs of CAs whose certificates stay until only `older_share` of their lives is left. None: those in the
    CA's file.
    """
    ca, ca_key = _ca(ca_folder, now, keep=keep)
    kept = _read_pair(path)
    if kept and _is_good(kept, ca, names, now):
        return path.read_text()
    known = map(_certificate, authorities(ca_folder) if older is None else older)
    before = [each for each in known if each != ca]
    if kept and any(_is_good(kept, each, names, now, older_share) for each in before):
        return path.read_text()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(names[0][:64], ca.subject, key, now, days)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = certificate_pem(certificate) + key_pem(key)
    if keep:
        write_atomically(path, pem, mode=0o600)
    return pem


def ca_certificate(folder: Path, now: datetime, *, keep: bool = True) -> str:
    """Return the PEM of the CA in `folder`. If there is none, it is made, and written unless `keep` is false."""
    return certificate_pem(_ca(folder, now, keep=keep)[0])


def authorities(folder: Path) -> list[str]:
    """Return the PEMs in the CA's file: the CA that signs, then those that it replaced. Empty if there is no file."""
    path = folder / CA_CERTIFICATE
    return [certificate_pem(each) for each in _certificates(path)] if path.exists() else []


def each_pem(text: str) -> list[str]:
    """Return the certificates in `text`, each as PEM."""
    return [certificate_pem(each) for each in x509.load_pem_x509_certificates(text.encode())]


def issuer_of(pem: str, known: Iterable[str]) -> str | None:
    """Return which of the CAs `known`, PEMs, signed the certificate `pem`; None if none of them did."""
    certificate = _certificate(pem)
    return next((each for each in known if _is_issued(certificate, _certificate(each))), None)


def _ca(folder: Path, now: datetime, *, keep: bool) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the CA kept in `folder`, made if there is none, and replaced if it expires soon or its key is lost.

    The file keeps the certificate of a CA that was replaced until that expires: clients trust both.
    """
    path, key_path = folder / CA_CERTIFICATE, folder / CA_KEY
    if path.exists() and key_path.exists():
        kept, kept_key = _load(path.read_bytes(), key_path.read_bytes(), path)
        if kept.public_key() == kept_key.public_key() and kept.not_valid_after_utc - now > timedelta(days=CA_LAST_DAYS):
            return kept, kept_key
    before = [each for each in _certificates(path) if each.not_valid_after_utc > now] if path.exists() else []
    if before and keep:
        say(f"the CA of this checkout is replaced; give clients the new {path}, which has the old one too")
    key = ec.generate_private_key(ec.SECP256R1())
    # The suffix distinguishes the CAs of two checkouts in a client's list; tools/host_settings.py uses the rest.
    name = f"llm-deploy CA {secrets.token_hex(4)}"
    certificate = (
        _builder(name, _common_name(name), key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(cert_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    if keep:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(key_path, key_pem(key), mode=0o600)
        write_atomically(path, "".join(map(certificate_pem, (certificate, *before))))
    return certificate, key


def _read_pair(path: Path) -> x509.Certificate | None:
    """Return the certificate kept at `path` with its key; None if there is none or it is damaged."""
    try:
        data = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(data)
        key = serialization.load_pem_private_key(data, password=None)
    except (FileNotFoundError, ValueError):
        return None
    return certificate if certificate.public_key() == key.public_key() else None


def _is_good(
    kept: x509.Certificate, ca: x509.Certificate, names: tuple[str, ...], now: datetime, share: float = LAST_SHARE
) -> bool:
    """Return whether `kept` is signed by `ca`, for exactly `names`, and has more than `share` of its life left."""
    life = kept.not_valid_after_utc - kept.not_valid_before_utc
    is_young = kept.not_valid_after_utc - now > life * share
    return is_young and set(names_of(kept)) == set(names) and _is_issued(kept, ca)


def _is_issued(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Return whether `ca` signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates in the CA's file."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise _damaged(path) from error


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    """Return the builder that the CA and the servers' certificates share."""
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, digital_signature: bool = False, cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    """Return `name` as a certificate writes it: addresses and host names have different types there."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses that `certificate` is good for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _load(certificate: bytes, key: bytes, path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the CA in these files."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate), serialization.load_pem_private_key(key, password=None)
    except ValueError as error:
        raise _damaged(path) from error
    assert isinstance(loaded[1], ec.EllipticCurvePrivateKey)  # noqa: S101  # we made it
    return loaded[0], loaded[1]


def _damaged(path: Path) -> ConfigError:
    return ConfigError("is damaged", where=str(path), hint=f"remove {path.parent} to have a new CA made")


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return `certificate` as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: PrivateKeyTypes) -> str:
    """Return `key` as PEM, in clear."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
