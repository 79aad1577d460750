"""Which of the user's certificates and keys are accepted, and the errors for the others."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from core.errors import ConfigError
from provisioning.access.certificates import server_certificate
from provisioning.access.tls_files import read_users_files
from serving.spec.gateway_fields import TlsFiles

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("192.0.2.7", "llm.example.com")
DAYS = 90


def issue(folder: Path, names: tuple[str, ...] = NAMES) -> str:
    """Return certificate and key for `names`, from a CA that is the user's."""
    return server_certificate(folder / "server.pem", folder / "ca", names, DAYS, NOW)


@pytest.fixture
def users(tmp_path: Path) -> TlsFiles:
    """Certificate and key as a user has them, in two files, from a CA of the user's."""
    certificate, mark, key = issue(tmp_path).partition("-----BEGIN PRIVATE")
    (tmp_path / "chain.pem").write_text(certificate + (tmp_path / "ca" / "ca.pem").read_text())
    (tmp_path / "key.pem").write_text(mark + key)
    (tmp_path / "key.pem").chmod(0o600)
    return TlsFiles(kind="files", certificate=tmp_path / "chain.pem", key=tmp_path / "key.pem")


def test_users_files_become_one_with_chain_and_key(users: TlsFiles) -> None:
    pem = read_users_files(users, ("llm.example.com",), NOW)
    assert pem.count("BEGIN CERTIFICATE") == 2
    assert pem.count("BEGIN PRIVATE KEY") == 1


WILDCARDS = [
    ("*.example.com", "llm.example.com", True),
    ("*.example.com", "LLM.Example.com", True),
    ("*.example.com", "a.llm.example.com", False),
    ("*.example.com", "example.com", False),
    ("llm.example.com", "llm.example.com", True),
    ("llm.example.com", "other.example.com", False),
    ("192.0.2.7", "192.0.2.7", True),
    ("192.0.2.7", "192.0.2.8", False),
]


@pytest.mark.parametrize(("pattern", "name", "covered"), WILDCARDS)
def test_name_is_covered_by_the_certificate(tmp_path: Path, pattern: str, name: str, covered: bool) -> None:
    issue(tmp_path, (pattern,))
    both = tmp_path / "server.pem"
    (tmp_path / "key.pem").write_text(both.read_text())
    (tmp_path / "key.pem").chmod(0o600)
    files = TlsFiles(kind="files", certificate=both, key=tmp_path / "key.pem")
    if covered:
        read_users_files(files, (name,), NOW)
    else:
        with pytest.raises(ConfigError, match=re.escape(f"is good for {pattern}, not for {name}")):
            read_users_files(files, (name,), NOW)


def refused(users: TlsFiles, *, names: tuple[str, ...] = NAMES, now: datetime = NOW) -> str:
    with pytest.raises(ConfigError) as caught:
        read_users_files(users, names, now)
    message = str(caught.value)
    assert "\n" not in message
    assert "BEGIN" not in message
    return message


def test_missing_file_is_refused(users: TlsFiles) -> None:
    users.certificate.unlink()
    message = refused(users)
    assert message.startswith(f"gateway.tls.certificate: {users.certificate}: cannot be read (No such file")


def test_missing_key_is_refused(users: TlsFiles) -> None:
    users.key.unlink()
    assert refused(users).startswith(f"gateway.tls.key: {users.key}: cannot be read (No such file")


def test_key_that_others_can_read_is_refused(users: TlsFiles) -> None:
    users.key.chmod(0o644)
    assert refused(users).endswith(f"can be read by others; chmod 600 {users.key}")


def test_key_of_another_certificate_is_refused(users: TlsFiles) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    users.key.write_bytes(pem)
    assert "does not belong to the key" in refused(users)


def test_chain_in_the_wrong_order_is_refused(users: TlsFiles) -> None:
    first, second = users.certificate.read_text().split("-----BEGIN CERTIFICATE-----")[1:]
    users.certificate.write_text("".join(f"-----BEGIN CERTIFICATE-----{part}" for part in (second, first)))
    assert "put the server's own certificate first" in refused(users)


def test_key_with_a_passphrase_is_refused(users: TlsFiles) -> None:
    key = serialization.load_pem_private_key(users.key.read_bytes(), password=None)
    locked = serialization.BestAvailableEncryption(b"passphrase")
    users.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    assert "has a passphrase; remove the passphrase" in refused(users)


@pytest.mark.parametrize(
    ("field", "message"), [("certificate", "holds no certificate"), ("key", "holds no private key")]
)
def test_file_of_something_else_is_refused(users: TlsFiles, field: str, message: str) -> None:
    getattr(users, field).write_text("hello\n")
    assert message in refused(users)


def test_ca_file_of_something_else_is_refused(users: TlsFiles, tmp_path: Path) -> None:
    (tmp_path / "users-ca.pem").write_text("hello\n")
    with_ca = users.model_copy(update={"ca": tmp_path / "users-ca.pem"})
    assert refused(with_ca).startswith(f"gateway.tls.ca: {tmp_path}/users-ca.pem: holds no certificate")


def test_expired_certificate_is_refused(users: TlsFiles) -> None:
    assert "expired on 2026-04-01; renew it" in refused(users, now=NOW + timedelta(days=DAYS))


def test_certificate_not_valid_yet_is_refused(users: TlsFiles) -> None:
    assert "is not valid before 2025-12-31 23:00 UTC" in refused(users, now=NOW - timedelta(days=1))
