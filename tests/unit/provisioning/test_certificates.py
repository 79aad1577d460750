"""The CA of a checkout, what it signs, and which files of the user's are taken."""

import ipaddress
import re
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.errors import ConfigError
from provisioning.certificates import CA_DAYS, CA_LAST_DAYS, read_users_files, server_certificate
from serving.spec import TlsFiles

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("192.0.2.7", "llm.example.com")
DAYS = 90


def issue(
    folder: Path, names: tuple[str, ...] = NAMES, days: int = DAYS, now: datetime = NOW, ca: str = "ca"
) -> x509.Certificate:
    pem = server_certificate(folder / "server.pem", folder / ca, names, days, now)
    return x509.load_pem_x509_certificate(pem.encode())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_certificate_names_addresses_and_hosts_as_what_they_are(tmp_path: Path) -> None:
    found = issue(tmp_path, (*NAMES, "2001:db8::7")).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    addresses = found.value.get_values_for_type(x509.IPAddress)
    assert addresses == [ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")]
    assert found.value.get_values_for_type(x509.DNSName) == ["llm.example.com"]


def test_key_is_p256_and_only_its_owner_can_read_what_is_secret(tmp_path: Path) -> None:
    certificate = issue(tmp_path)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert mode(tmp_path / "server.pem") == 0o600
    assert mode(tmp_path / "ca" / "ca.key") == 0o600
    assert mode(tmp_path / "ca") == 0o700
    assert b"PRIVATE" not in (tmp_path / "ca" / "ca.pem").read_bytes()


def test_certificate_is_kept_in_the_first_two_thirds_of_its_life(tmp_path: Path) -> None:
    first = issue(tmp_path)
    assert issue(tmp_path, now=NOW + timedelta(days=DAYS * 2 / 3 - 1)) == first
    assert issue(tmp_path, names=NAMES[::-1]) == first


def test_certificate_is_renewed_in_the_last_third_of_its_life(tmp_path: Path) -> None:
    first = issue(tmp_path)
    later = NOW + timedelta(days=DAYS * 2 / 3 + 1)
    second = issue(tmp_path, now=later)
    assert second != first
    assert second.public_key() != first.public_key()
    assert second.not_valid_after_utc == later + timedelta(days=DAYS)


@pytest.mark.parametrize("names", [("192.0.2.7",), ("192.0.2.8", "llm.example.com"), (*NAMES, "more.example.com")])
def test_certificate_is_made_anew_for_other_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert issue(tmp_path) != issue(tmp_path, names=names)


def test_certificate_is_made_anew_for_another_ca(tmp_path: Path) -> None:
    assert issue(tmp_path) != issue(tmp_path, ca="other")


@pytest.mark.parametrize("damage", ["", "-----BEGIN", None])
def test_damaged_certificate_is_made_anew(tmp_path: Path, damage: str | None) -> None:
    first = issue(tmp_path)
    path = tmp_path / "server.pem"
    path.write_text(path.read_text().split("-----BEGIN PRIVATE")[0] if damage is None else damage)
    assert issue(tmp_path) != first


def test_ca_outlives_what_it_signs_and_is_replaced_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issue(tmp_path)
    before = (tmp_path / "ca" / "ca.pem").read_text()
    issue(tmp_path, now=NOW + timedelta(days=CA_DAYS - CA_LAST_DAYS - 1))
    assert (tmp_path / "ca" / "ca.pem").read_text() == before
    assert capsys.readouterr().err == ""
    issue(tmp_path, now=NOW + timedelta(days=CA_DAYS - CA_LAST_DAYS + 1))
    assert (tmp_path / "ca" / "ca.pem").read_text() != before
    assert "give clients the new" in capsys.readouterr().err


def test_ca_cut_off_between_its_two_files_is_made_anew(tmp_path: Path) -> None:
    issue(tmp_path)
    issue(tmp_path, ca="other")
    (tmp_path / "ca" / "ca.key").write_text((tmp_path / "other" / "ca.key").read_text())
    handshake(tmp_path, issue(tmp_path, ("127.0.0.1",), now=datetime.now(UTC)), "127.0.0.1")


def test_damaged_ca_is_told_and_not_replaced(tmp_path: Path) -> None:
    issue(tmp_path)
    (tmp_path / "ca" / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match="is damaged; remove"):
        issue(tmp_path)


def test_two_checkouts_have_cas_of_different_names(tmp_path: Path) -> None:
    assert issue(tmp_path).issuer != issue(tmp_path, ca="other").issuer


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", True), ("localhost.example", True), ("::1", False)])
def test_openssl_takes_the_certificate_for_its_names_and_no_other(tmp_path: Path, name: str, trusted: bool) -> None:
    certificate = issue(tmp_path, ("127.0.0.1", "localhost.example"), now=datetime.now(UTC))
    if trusted:
        handshake(tmp_path, certificate, name)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(tmp_path, certificate, name)


def handshake(folder: Path, certificate: x509.Certificate, name: str) -> None:
    """Have a strict client meet a server with the certificate; raises what the client raises."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    client = ssl.create_default_context(cafile=str(folder / "ca" / "ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()
    near.settimeout(5)

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            far.close()  # the client refused: it has the error

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=name) as connection:
            assert connection.getpeercert(binary_form=True) == certificate.public_bytes(serialization.Encoding.DER)
    finally:
        near.close()
        thread.join()


@pytest.fixture
def users(tmp_path: Path) -> TlsFiles:
    """Certificate and key as a user has them, in two files, from a CA of the user's."""
    certificate, key = issue(tmp_path), (tmp_path / "server.pem").read_text()
    (tmp_path / "chain.pem").write_text(
        certificate.public_bytes(serialization.Encoding.PEM).decode() + (tmp_path / "ca" / "ca.pem").read_text()
    )
    (tmp_path / "key.pem").write_text(key[key.index("-----BEGIN PRIVATE") :])
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


def test_certificate_of_the_future_is_refused(users: TlsFiles) -> None:
    assert "is not valid before 2025-12-31 23:00 UTC" in refused(users, now=NOW - timedelta(days=1))
