"""The CA of a checkout, and what it signs."""

import ipaddress
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import ConfigError
from provisioning.access.certificates import CA_DAYS, CA_LAST_DAYS, authorities, server_certificate

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


def test_certificate_has_addresses_and_host_names_by_type(tmp_path: Path) -> None:
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
def test_certificate_is_replaced_for_other_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert issue(tmp_path) != issue(tmp_path, names=names)


def test_certificate_is_replaced_for_another_ca(tmp_path: Path) -> None:
    assert issue(tmp_path) != issue(tmp_path, ca="other")


@pytest.mark.parametrize("damage", ["", "-----BEGIN", None])
def test_damaged_certificate_is_replaced(tmp_path: Path, damage: str | None) -> None:
    first = issue(tmp_path)
    path = tmp_path / "server.pem"
    path.write_text(path.read_text().split("-----BEGIN PRIVATE")[0] if damage is None else damage)
    assert issue(tmp_path) != first


def test_ca_outlives_its_certificates_and_its_replacement_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issue(tmp_path)
    before = (tmp_path / "ca" / "ca.pem").read_text()
    issue(tmp_path, now=NOW + timedelta(days=CA_DAYS - CA_LAST_DAYS - 1))
    assert (tmp_path / "ca" / "ca.pem").read_text() == before
    assert capsys.readouterr().err == ""
    issue(tmp_path, now=NOW + timedelta(days=CA_DAYS - CA_LAST_DAYS + 1))
    after = (tmp_path / "ca" / "ca.pem").read_text()
    assert after != before
    assert after.endswith(before), "clients with the new file also trust certificates of the old CA"
    assert "give clients the new" in capsys.readouterr().err


def test_clients_have_time_for_a_new_ca(tmp_path: Path) -> None:
    """Its certificate once changed with the CA, and every client with the old file failed at once."""
    issue(tmp_path)
    replaced = NOW + timedelta(days=CA_DAYS - CA_LAST_DAYS + 1)
    first = issue(tmp_path, now=replaced - timedelta(days=2))
    late = replaced - timedelta(days=2) + timedelta(days=DAYS * 3 / 4 - 1)
    assert issue(tmp_path, now=replaced) == issue(tmp_path, now=late) == first
    assert issue(tmp_path, now=late + timedelta(days=2)).issuer != first.issuer


def test_the_file_forgets_a_ca_that_has_expired(tmp_path: Path) -> None:
    issue(tmp_path)
    issue(tmp_path, now=NOW + timedelta(days=CA_DAYS + 1))
    assert len(authorities(tmp_path / "ca")) == 1


def test_a_ca_that_lost_its_key_is_replaced_and_stays_trusted(tmp_path: Path) -> None:
    first = issue(tmp_path)
    (tmp_path / "ca" / "ca.key").unlink()
    assert issue(tmp_path) == first
    assert len(authorities(tmp_path / "ca")) == 2


def test_ca_interrupted_between_its_two_files_is_replaced(tmp_path: Path) -> None:
    issue(tmp_path)
    issue(tmp_path, ca="other")
    (tmp_path / "ca" / "ca.key").write_text((tmp_path / "other" / "ca.key").read_text())
    handshake(tmp_path, issue(tmp_path, ("127.0.0.1",), now=datetime.now(UTC)), "127.0.0.1")


def test_damaged_ca_is_reported_and_not_replaced(tmp_path: Path) -> None:
    issue(tmp_path)
    (tmp_path / "ca" / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match="is damaged; remove"):
        issue(tmp_path)


def test_two_checkouts_have_cas_of_different_names(tmp_path: Path) -> None:
    assert issue(tmp_path).issuer != issue(tmp_path, ca="other").issuer


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", True), ("localhost.example", True), ("::1", False)])
def test_openssl_accepts_the_certificate_for_its_names_only(tmp_path: Path, name: str, trusted: bool) -> None:
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
