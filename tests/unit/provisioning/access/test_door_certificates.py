"""The certificates and the key between a gateway's host and the hosts behind it."""

import stat
from pathlib import Path

import pytest
from cryptography import x509

from core.paths import stack_state_dir
from provisioning.access.certificates import names_of
from provisioning.access.credentials import credentials_for
from provisioning.access.door_certificates import door_ca, door_certificate
from provisioning.access.engine_key import engine_key
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    return tmp_path


GPU = host("gpu-1", address="203.0.113.7", private_address="10.0.0.4")


def test_a_door_is_certified_for_its_name_and_the_address_that_the_gateway_connects_to() -> None:
    pem = door_certificate("demo", GPU, GatewaySpec()).value
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert sorted(names_of(certificate)) == ["10.0.0.4", "gpu-1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(door_ca().encode()))
    assert door_certificate("demo", GPU, GatewaySpec()).value == pem


def test_a_door_and_a_gateway_of_the_same_host_have_certificates_of_their_own() -> None:
    """A host gets a gateway in front of it and loses it again: clients keep the certificate that they know."""
    own = credentials_for("demo", GPU, GatewaySpec()).certificate
    door_certificate("demo", GPU, GatewaySpec())
    assert credentials_for("demo", GPU, GatewaySpec()).certificate == own


def test_the_users_own_certificate_is_for_clients_alone(tmp_path: Path) -> None:
    files = {"kind": "files", "certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}
    pem = door_certificate("demo", GPU, GatewaySpec.model_validate({"tls": files})).value
    x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(door_ca().encode())
    )


def test_a_stack_has_one_key_that_only_its_owner_reads() -> None:
    first = engine_key("demo")
    assert engine_key("demo") == first != engine_key("other")
    assert len(first.value) == 43
    assert stat.S_IMODE((stack_state_dir("demo") / "engine-key").stat().st_mode) == 0o600


def test_a_plan_keeps_neither(state: Path) -> None:
    door_certificate("demo", GPU, GatewaySpec(), keep=False)
    engine_key("demo", keep=False)
    assert [path.name for path in state.rglob("*") if path.is_file() and "lock" not in path.name] == []
