"""The certificates and the key between a gateway's host and the hosts behind it."""

import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from core.errors import ConfigError
from core.paths import stack_state_dir, state_dir
from provisioning.access import door_certificates
from provisioning.access.certificates import authorities, each_pem, issuer_of, names_of
from provisioning.access.credentials import credentials_for
from provisioning.access.door_certificates import (
    DAYS_BESIDE_FILES,
    door_cas,
    door_certificate,
    doors_of_old_ca,
    note_door,
    note_gateway,
)
from provisioning.access.engine_key import engine_key
from provisioning.converge.resources import Secret
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    return tmp_path


GPU = host("gpu-1", address="203.0.113.7", private_address="10.0.0.4")
OTHER = host("gpu-2", address="203.0.113.8", private_address="10.0.0.5")
SPEC = GatewaySpec()


def current_ca() -> str:
    """Return the PEM of the CA that signs now."""
    return authorities(state_dir() / "ca")[0]


def shown() -> dict[str, Secret]:
    return {each.name: door_certificate("demo", each, SPEC) for each in (GPU, OTHER)}


def provision(*hosts: str, gateway: bool = True) -> None:
    """Note what a provision of these hosts would."""
    for name, pem in shown().items():
        if name in hosts:
            note_door("demo", name, pem)
    if gateway:
        note_gateway("demo", door_cas("demo", shown()), ("gpu-1", "gpu-2"))


def issuers() -> set[str | None]:
    """Return the CAs of the certificates that doors get next; those that the gateway would then refuse are None."""
    trusted = each_pem(door_cas("demo", shown()))
    return {issuer_of(pem.value, trusted) for pem in shown().values()}


def lose_ca() -> None:
    """Remove the CA, as somebody does whose key leaked."""
    shutil.rmtree(state_dir() / "ca")


def test_a_door_is_certified_for_its_name_and_the_address_that_the_gateway_connects_to() -> None:
    pem = door_certificate("demo", GPU, SPEC).value
    assert sorted(names_of(x509.load_pem_x509_certificate(pem.encode()))) == ["10.0.0.4", "gpu-1"]
    assert each_pem(door_cas("demo", {"gpu-1": Secret(pem)})) == [issuer_of(pem, [current_ca()])]
    assert door_certificate("demo", GPU, SPEC).value == pem


def test_a_door_and_a_gateway_of_the_same_host_have_certificates_of_their_own() -> None:
    """A host gets a gateway in front of it and loses it again: clients keep the certificate that they know."""
    own = credentials_for("demo", GPU, SPEC).certificate
    door_certificate("demo", GPU, SPEC)
    assert credentials_for("demo", GPU, SPEC).certificate == own


def test_the_users_own_certificate_is_for_clients_alone(tmp_path: Path) -> None:
    """Nobody renews theirs every 60 days, so doors have a year."""
    files = {"kind": "files", "certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}
    pem = door_certificate("demo", GPU, GatewaySpec.model_validate({"tls": files})).value
    assert issuer_of(pem, [current_ca()])
    left = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc - datetime.now(UTC)
    assert left.days in {DAYS_BESIDE_FILES - 1, DAYS_BESIDE_FILES}


class Clock(datetime):
    """The time of `door_certificates`, which tests move."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> "Clock":
        """Return the moved time."""
        del tz
        return datetime.now(UTC) + cls.ahead  # type: ignore[return-value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clock]]:
    monkeypatch.setattr(door_certificates, "datetime", Clock)
    yield Clock
    Clock.ahead = timedelta()


@pytest.mark.parametrize("tls", [{"kind": "project_ca", "days": 90}, {"kind": "files", "certificate": "a", "key": "b"}])
def test_provision_renews_a_doors_certificate_in_the_last_third_of_its_life(
    tls: dict[str, object], clock: type[Clock]
) -> None:
    gateway = GatewaySpec.model_validate({"tls": tls})
    days = 90 if tls["kind"] == "project_ca" else DAYS_BESIDE_FILES
    first = door_certificate("demo", GPU, gateway)
    clock.ahead = timedelta(days=days * 2 / 3 - 1)
    assert door_certificate("demo", GPU, gateway) == first
    clock.ahead = timedelta(days=days * 2 / 3 + 1)
    assert door_certificate("demo", GPU, gateway) != first


def test_a_new_ca_signs_for_doors_only_when_the_gateway_trusts_it_and_the_old_one_leaves_last() -> None:
    provision("gpu-1", "gpu-2")
    old = current_ca()
    lose_ca()
    assert issuers() == {old}, "the gateway does not trust the new one yet"
    new = current_ca()
    assert each_pem(door_cas("demo", shown())) == [new, old]
    provision("gpu-1", "gpu-2")
    assert doors_of_old_ca("demo") == ("gpu-1", "gpu-2")
    assert issuers() == {new}
    provision("gpu-1")
    assert each_pem(door_cas("demo", shown())) == [new, old], "gpu-2 still shows the old one"
    assert doors_of_old_ca("demo") == ("gpu-2",)
    provision("gpu-2")
    assert each_pem(door_cas("demo", shown())) == [new]
    assert doors_of_old_ca("demo") == ()


def test_a_failed_gateway_delays_the_new_ca() -> None:
    provision("gpu-1", "gpu-2")
    old = current_ca()
    lose_ca()
    for _ in range(2):
        provision("gpu-1", "gpu-2", gateway=False)
        assert issuers() == {old}


def test_a_second_new_ca_before_the_first_is_in_use_interrupts_nothing() -> None:
    provision("gpu-1", "gpu-2")
    lose_ca()
    provision("gpu-1", "gpu-2")
    second = current_ca()
    provision("gpu-1")
    lose_ca()
    assert None not in issuers()
    assert second in each_pem(door_cas("demo", shown()))


@pytest.mark.parametrize("days", [60, 88])
def test_an_old_certificate_waits_for_the_gateway_nearly_to_its_end(days: int, clock: type[Clock]) -> None:
    """A stack that was not provisioned for long gets a new CA."""
    provision("gpu-1", "gpu-2")
    before = door_certificate("demo", GPU, SPEC)
    lose_ca()
    clock.ahead = timedelta(days=days)
    assert door_certificate("demo", GPU, SPEC) == before
    clock.ahead = timedelta(days=89)
    assert door_certificate("demo", GPU, SPEC) != before


def test_a_new_host_gets_a_certificate_of_the_new_ca_at_once() -> None:
    note_door("demo", "gpu-1", door_certificate("demo", GPU, SPEC))
    note_gateway("demo", door_cas("demo", {"gpu-1": door_certificate("demo", GPU, SPEC)}), ("gpu-1",))
    lose_ca()
    pem = door_certificate("demo", OTHER, SPEC).value
    assert issuer_of(pem, [current_ca()])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"gateway": [1], "doors": {}}', '{"gateway": [], "doors": []}'])
def test_a_damaged_note_is_one_line(text: str) -> None:
    provision("gpu-1")
    path = stack_state_dir("demo") / "door-trust.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"door-trust\.json: does not say which CAs are trusted; remove it"):
        door_certificate("demo", GPU, SPEC)


def test_a_stack_has_one_key_that_only_its_owner_reads() -> None:
    first = engine_key("demo")
    assert engine_key("demo") == first != engine_key("other")
    assert len(first.value) == 43
    assert stat.S_IMODE((stack_state_dir("demo") / "engine-key").stat().st_mode) == 0o600


def test_a_plan_keeps_neither(state: Path) -> None:
    door_certificate("demo", GPU, SPEC, keep=False)
    door_cas("demo", {"gpu-1": door_certificate("demo", GPU, SPEC, keep=False)}, keep=False)
    engine_key("demo", keep=False)
    assert [path.name for path in state.rglob("*") if path.is_file() and "lock" not in path.name] == []
