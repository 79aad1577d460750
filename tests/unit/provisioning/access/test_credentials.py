"""API keys and certificates as they are kept on the controlling machine."""

import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from core.errors import ConfigError, UsageError
from infra.contract.outputs import HostRecord
from provisioning.access.credentials import client_keys, credentials_for, drop_other_keys, keys_file, rotate_client_key
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import HOST_KEY

STACK = "demo"
HOST = HostRecord(
    name="gpu-1",
    address="192.0.2.7",
    service_address="203.0.113.9",
    user="root",
    host_keys=(HOST_KEY,),
    cpu_count=2,
    memory_gib=4,
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    return tmp_path


def keys(*clients: str) -> dict[str, str]:
    return {name: key.value for name, key in client_keys(STACK, clients).items()}


def test_key_is_made_once_for_each_client() -> None:
    first = keys("default", "batch")
    assert set(first) == {"default", "batch"}
    assert all(key.startswith("sk-") and len(key) == 46 for key in first.values())
    assert first["default"] != first["batch"]
    assert keys("default", "batch") == first


def test_keys_are_for_their_owner_alone() -> None:
    keys("default")
    assert stat.S_IMODE(keys_file(STACK).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys_file(STACK).parent.stat().st_mode) == 0o700


def test_new_client_gets_a_key_and_the_others_keep_theirs() -> None:
    first = keys("default")
    assert keys("default", "batch")["default"] == first["default"]


def test_client_listed_again_keeps_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A plan makes the list of keys too, and must not take a key away that hosts still know."""
    first = keys("default", "batch")
    assert keys("default") == {"default": first["default"]}
    assert keys("default", "batch") == first
    assert capsys.readouterr().err == ""


def test_key_of_a_removed_client_is_dropped_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    first = keys("default", "batch")
    drop_other_keys(STACK, ("default",))
    assert capsys.readouterr().err == "demo: client batch is no longer in gateway.clients; its API key is dropped\n"
    assert json.loads(keys_file(STACK).read_text()) == {"default": first["default"]}
    assert keys("default", "batch")["batch"] != first["batch"]


def test_keys_of_two_stacks_differ() -> None:
    assert keys("default")["default"] != client_keys("other", ("default",))["default"].value


def test_printed_keys_are_hidden() -> None:
    key = client_keys(STACK, ("default",))["default"]
    assert key.value not in repr(key)


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"default": 1}', '{"default": ""}'])
def test_damaged_keys_file_is_reported_without_its_content(content: str) -> None:
    keys("default")
    keys_file(STACK).write_text(content)
    with pytest.raises(ConfigError, match="holds no API keys"):
        keys("default")
    assert keys_file(STACK).read_text() == content


def test_rotated_key_is_new_and_the_others_stay() -> None:
    before = keys("default", "batch")
    assert rotate_client_key(STACK, "batch") == keys_file(STACK)
    after = keys("default", "batch")
    assert after["batch"] != before["batch"]
    assert after["default"] == before["default"]


def test_only_a_client_with_a_key_can_be_rotated() -> None:
    with pytest.raises(UsageError, match="none yet: run `provision` first"):
        rotate_client_key(STACK, "default")
    keys("default", "batch")
    with pytest.raises(UsageError, match="has no client 'bach'; there are: batch, default"):
        rotate_client_key(STACK, "bach")


def test_two_runs_at_once_agree_on_keys_and_ca() -> None:
    gateway = GatewaySpec()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: credentials_for(STACK, HOST, gateway), range(8)))
    assert len(set(made)) == 1


def test_host_gets_names_hashes_and_ca() -> None:
    made = credentials_for(STACK, HOST, GatewaySpec(hostnames=("llm.example.com",), clients=("zoe", "batch")))
    assert made.names == ("203.0.113.9", "192.0.2.7", "llm.example.com")
    expected = [(name, hashlib.sha256(key.encode()).hexdigest()) for name, key in keys("batch", "zoe").items()]
    assert list(made.key_hashes) == expected
    assert made.ca is not None
    ca = x509.load_pem_x509_certificate(made.ca.read_bytes())
    x509.load_pem_x509_certificate(made.certificate.value.encode()).verify_directly_issued_by(ca)
    assert "PRIVATE" not in repr(made)


def test_each_host_has_its_own_certificate() -> None:
    other = HOST.model_copy(update={"name": "gpu-2", "address": "192.0.2.8", "service_address": None})
    first, second = (credentials_for(STACK, host, GatewaySpec()) for host in (HOST, other))
    assert first.certificate != second.certificate
    assert first.ca == second.ca
    assert credentials_for(STACK, HOST, GatewaySpec()) == first


def users_files(folder: Path, hostnames: tuple[str, ...], ca: Path | None = None) -> GatewaySpec:
    """Return a gateway with files that a CA of the user's signed."""
    made = credentials_for("elsewhere", HOST, GatewaySpec(hostnames=("llm.example.com",)))
    (folder / "both.pem").write_text(made.certificate.value)
    (folder / "key.pem").write_text(made.certificate.value)
    (folder / "key.pem").chmod(0o600)
    tls = {"kind": "files", "certificate": folder / "both.pem", "key": folder / "key.pem", "ca": ca}
    return GatewaySpec.model_validate({"hostnames": hostnames, "tls": tls})


def test_users_certificate_is_checked_for_the_host_names_where_given(tmp_path: Path) -> None:
    """A public CA signs names, not the address that SSH uses."""
    assert credentials_for(STACK, HOST, users_files(tmp_path, ("llm.example.com",))).names == ("llm.example.com",)
    with pytest.raises(ConfigError, match=r"not for other\.example\.com"):
        credentials_for(STACK, HOST, users_files(tmp_path, ("other.example.com",)))


def test_users_certificate_is_checked_for_the_address_otherwise(tmp_path: Path) -> None:
    assert credentials_for(STACK, HOST, users_files(tmp_path, ())).names == ("203.0.113.9",)
    other = HOST.model_copy(update={"service_address": "203.0.113.10"})
    with pytest.raises(ConfigError, match=r"not for 203\.0\.113\.10"):
        credentials_for(STACK, other, users_files(tmp_path, ()))


def test_clients_trust_the_users_ca_or_their_system(tmp_path: Path) -> None:
    assert credentials_for(STACK, HOST, users_files(tmp_path, ())).ca is None
    made = credentials_for(STACK, HOST, GatewaySpec())
    assert credentials_for(STACK, HOST, users_files(tmp_path, (), ca=made.ca)).ca == made.ca
