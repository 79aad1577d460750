"""`adopt` up to the first packet: logins, host keys vouched for, files that are never written over."""

import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

import provisioning.hosts.look as look_module
from core.errors import ConfigError, DeployError, HostError, UsageError
from infra.contract.outputs import Gpu, StackOutputs
from provisioning.existing import adopt as adopt_module
from provisioning.existing import host_key
from provisioning.existing.adopt import AdoptOptions, adopt, host_name, known_keys, parse_login, trusted_keys
from provisioning.existing.host_key import accepted_keys, fingerprint
from provisioning.existing.inventory_file import inventory_text, is_edited, write_inventory
from provisioning.existing.verdict import plan
from provisioning.hosts.facts import HostFacts
from provisioning.hosts.inventory import load
from provisioning.hosts.look import look
from provisioning.hosts.target import Target
from provisioning.ssh.connection import LoginError, OtherHostError
from tests.unit.provisioning.existing.test_verdict import MACHINE
from tests.unit.provisioning.records import HOST_KEY, host

FINGERPRINT = "SHA256:vTDWuruU9tNHrVTxMzx0pbyU4v++YKQ7t3K8CShFk38"
OTHER_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQA="
FACTS = HostFacts(**MACHINE)


@pytest.mark.parametrize(
    ("login", "user", "address", "port"),
    [
        ("root@203.0.113.7", "root", "203.0.113.7", 22),
        ("ubuntu@gpu1.example.com:2222", "ubuntu", "gpu1.example.com", 2222),
        ("admin@[fe80::1%eth0]:22", "admin", "fe80::1%eth0", 22),
        ("ann@corp.example.com@gpu1:2222", "ann@corp.example.com", "gpu1", 2222),
        ("CORP\\ann@10.0.0.4", "CORP\\ann", "10.0.0.4", 22),
    ],
)
def test_a_login_says_who_and_where(login: str, user: str, address: str, port: int) -> None:
    ssh_target = parse_login(AdoptOptions(login=login))
    assert (ssh_target.user, ssh_target.address, ssh_target.ssh_port) == (user, address, port)


@pytest.mark.parametrize(
    "login",
    ["", "gpu1", "@gpu1", "root@", "root@gpu1:0", "root@gpu1:99999", "-oProxyCommand=x@y", "a@b@c@d"],
)
def test_other_text_is_refused(login: str) -> None:
    with pytest.raises(UsageError, match="write HOST=user@address"):
        parse_login(AdoptOptions(login=login))


@pytest.mark.parametrize(
    ("address", "name"),
    [("203.0.113.7", "host-203-0-113-7"), ("GPU1.example.com", "gpu1"), ("fe80::1%eth0", "host-fe80-1-eth0")],
)
def test_a_host_gets_a_name_from_its_address(address: str, name: str) -> None:
    assert host_name(address) == name


def test_a_fingerprint_is_that_of_openssh() -> None:
    """Compared with `ssh-keygen -lf` on the same key."""
    assert fingerprint(HOST_KEY) == FINGERPRINT


def test_a_key_is_taken_by_its_fingerprint() -> None:
    assert accepted_keys((OTHER_KEY, HOST_KEY), FINGERPRINT, None, name="gpu1") == (HOST_KEY,)


def test_another_fingerprint_is_refused() -> None:
    with pytest.raises(HostError, match="another machine may be answering"):
        accepted_keys((HOST_KEY,), fingerprint(OTHER_KEY), None, name="gpu1")


@pytest.mark.parametrize(("answer", "accepted"), [("yes\n", True), ("y\n", False), ("", False), ("no\n", False)])
def test_only_a_plain_yes_accepts_a_key(answer: str, accepted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    ask: Callable[[str], str] = lambda _: answer  # noqa: E731
    if accepted:
        assert accepted_keys((HOST_KEY,), "", ask, name="gpu1") == (HOST_KEY,)
    else:
        with pytest.raises(UsageError, match="was not accepted"):
            accepted_keys((HOST_KEY,), "", ask, name="gpu1")
    assert FINGERPRINT in capsys.readouterr().err


def test_without_a_terminal_no_key_is_accepted() -> None:
    with pytest.raises(UsageError, match=re.escape(f'run it again with ARGS="--host-key {FINGERPRINT}"')):
        accepted_keys((HOST_KEY,), "", None, name="gpu1")


def test_what_others_serve_stays_open_in_the_inventory(tmp_path: Path) -> None:
    """Once the first provision closed a WireGuard port: only TCP was checked, and the inventory had no ports."""
    listeners = [
        {"port": 22, "loopback": False, "program": "sshd"},
        {"port": 51820, "protocol": "udp", "loopback": False},
        {"port": 9100, "loopback": False, "program": "node_exporter"},
    ]
    facts = HostFacts.model_validate({**MACHINE, "listeners": listeners})
    path = tmp_path / "gpu1.yaml"
    path.write_text(inventory_text(host("gpu1", os_release="debian-12"), facts, plan(facts), login="me@gpu1"))
    (found,) = load(Target(inventory=str(path))).hosts
    assert found.open_ports == ("51820/udp", "9100/tcp")


SSH_TARGET = parse_login(AdoptOptions(login="root@gpu1"))


def test_the_inventorys_keys_are_trusted_without_a_question() -> None:
    for said in ("", FINGERPRINT):
        assert trusted_keys(AdoptOptions(login="root@gpu1", host_key=said), SSH_TARGET, (HOST_KEY,)) == (HOST_KEY,)


def test_silent_server_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each key type was requested in turn, and the error was that the server shows no key of a known type."""
    monkeypatch.setattr(host_key, "ANSWER_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ssh_target = parse_login(AdoptOptions(login=f"root@127.0.0.1:{silent.getsockname()[1]}"))
        with pytest.raises(HostError, match=r"SSH did not answer within 0\.2 s"):
            host_key.shown_keys(ssh_target)


def test_reinstalled_host_is_adopted_by_its_new_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once `--host-key NEW --replace` was refused with the words that the host key is not the known one."""
    monkeypatch.setattr(adopt_module, "shown_keys", lambda _: (HOST_KEY,))
    new = AdoptOptions(login="root@gpu1", host_key=FINGERPRINT)
    with pytest.raises(UsageError, match=r'the inventory trusts SHA256:.* write ARGS="--host-key SHA256:… --replace"'):
        trusted_keys(new, SSH_TARGET, (OTHER_KEY,))
    assert trusted_keys(replace(new, replace=True), SSH_TARGET, (OTHER_KEY,)) == (HOST_KEY,)


@pytest.mark.parametrize(
    ("error", "reported", "hint"),
    [
        (LoginError("there is no key to log in with"), UsageError, 'ARGS="--identity-file KEY"'),
        (OtherHostError("not the known one", hint="write AAAA"), HostError, "write AAAA; or run it again with ARGS="),
    ],
)
def test_ssh_errors_say_what_to_write_for_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: HostError, reported: type[DeployError], hint: str
) -> None:
    """Only for adopt: once the smoke test, which looks at hosts too, printed these hints."""
    monkeypatch.setattr(look_module, "connect", Mock(side_effect=error))
    monkeypatch.setattr(adopt_module, "trusted_keys", lambda *_: (HOST_KEY,))
    with pytest.raises(reported) as caught:
        adopt(AdoptOptions(login="root@gpu1", inventory=str(tmp_path / "gpu1.yaml")))
    assert hint in caught.value.hint
    with pytest.raises(type(error)) as caught:
        look(SSH_TARGET)
    assert "ARGS=" not in caught.value.hint


def text(**changed: object) -> str:
    record = host("gpu1", os_release="debian-12", ssh_port=2222, gpu={"model": "L4", "count": 1, "vram_gib": 22.49})
    facts = FACTS.model_copy(update=changed)
    return inventory_text(record, facts, plan(facts), login="root@203.0.113.7")


def test_what_is_written_is_an_inventory(tmp_path: Path) -> None:
    path = tmp_path / "gpu1.yaml"
    assert write_inventory(path, text(), replace=False) == "written"
    outputs: StackOutputs = load(Target(inventory=str(path)))
    assert outputs.hosts[0].os_release == "debian-12"
    assert outputs.hosts[0].ssh_port == 2222
    assert outputs.hosts[0].gpu is not None
    assert (outputs.serving.engine, outputs.gateway.port) == ("vllm", 443)


@pytest.mark.parametrize("user", ["CORP\\ann", "ann@corp.example.com", "123", "true"])
def test_the_way_to_a_host_and_its_login_are_read_back(tmp_path: Path, user: str) -> None:
    path = tmp_path / "gpu1.yaml"
    way = {"ssh_config": str(tmp_path / "jump.conf"), "service_address": "10.0.0.4", "user": user}
    record = host("gpu1", address="gpu_1", os_release="debian-12", **way)
    facts = FACTS.model_copy(update={"password_logins": True})
    path.write_text(inventory_text(record, facts, plan(facts), login=f"{user}@gpu_1"))
    (found,) = load(Target(inventory=str(path))).hosts
    assert (found.user, str(found.ssh_config), found.service_address) == (user, way["ssh_config"], "10.0.0.4")
    assert not found.password_logins
    assert "# password_logins: true\n" in path.read_text()


def test_what_the_driver_said_of_a_gpu_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "gpu1.yaml"
    gpu = {"model": "A100-10C", "count": 1, "vram_gib": 10.0, "compute_capability": "8.0"}
    path.write_text(
        inventory_text(host("gpu1", os_release="debian-12", gpu=gpu), FACTS, plan(FACTS), login="root@203.0.113.7")
    )
    assert load(Target(inventory=str(path))).hosts[0].gpu == Gpu.model_validate(gpu)
    path.write_text(path.read_text().replace('"8.0"', "ampere"))
    with pytest.raises(ConfigError, match=r"hosts\[0\]\.gpu\.compute_capability: ampere is not a compute capability"):
        load(Target(inventory=str(path)))


def test_a_gpu_without_driver_has_to_be_filled_in_before_anything_runs(tmp_path: Path) -> None:
    """Once such a file loaded without `gpu`, and the engine was set up for the CPU of a GPU server."""
    path = tmp_path / "gpu1.yaml"
    record = host("gpu1", os_release="debian-12")
    idle = FACTS.model_copy(update={"nvidia_pci": 2})
    path.write_text(inventory_text(record, idle, plan(idle), login="root@203.0.113.7"))
    with pytest.raises(ConfigError, match=r"hosts\[0\]\.gpu\.model: is empty") as caught:
        load(Target(inventory=str(path)))
    assert "hosts[0].gpu.vram_gib: is empty" in caught.value.detail
    assert known_keys(path, parse_login(AdoptOptions(login=f"{record.user}@{record.address}"))) == record.host_keys
    path.write_text(re.sub(r"model: +#", "model: L4 #", path.read_text(), count=1).replace("gib:   #", "gib: 22.5 #"))
    assert load(Target(inventory=str(path))).hosts[0].gpu == Gpu(model="L4", count=2, vram_gib=22.5)


def test_a_second_look_changes_only_a_file_that_nobody_edited(tmp_path: Path) -> None:
    path = tmp_path / "gpu1.yaml"
    write_inventory(path, text(), replace=False)
    assert write_inventory(path, text(), replace=False) == "unchanged"
    assert write_inventory(path, text(kernel="6.1.0-32-amd64"), replace=False) == "replaced"
    edited = path.read_text().replace("name: tiny", "name: mine")
    path.write_text(edited)
    with pytest.raises(UsageError, match="was edited") as caught:
        write_inventory(path, text(), replace=False)
    assert "-    name: mine" in caught.value.detail
    assert path.read_text() == edited
    assert write_inventory(path, text(), replace=True) == "replaced"
    assert not is_edited(path.read_text())


def test_a_file_of_ones_own_counts_as_edited() -> None:
    assert is_edited("stack: mine\n")
