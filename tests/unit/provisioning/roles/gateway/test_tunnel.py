"""The resources of both ends of a tunnel, and inventories whose tunnel has no other end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.contract.outputs import StackOutputs
from provisioning.access.tunnel_keys import tunnel_keys
from provisioning.apply.desired_state import desired_state
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import File, Resource, Secret, SshdFile, Unit
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.host_status import HostStatus
from provisioning.operate.status_screen import screen
from serving.spec.models import ServingSpec
from tests.unit.provisioning.records import SERVING, host_values, stack

PORTS = {"llm-tunnel.service": 8000, "llm-tunnel-watch.service": 8406}
"""The units of the engine's host, and the port that each forwards."""


def joined(**tunnel: Any) -> StackOutputs:
    hosts = (host_values("laptop", address="192.168.1.5"), host_values("front", ssh_port=2222))
    return stack(*hosts, tunnel={"engine": "laptop", "gateway": "front", **tunnel})


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[Resource]]:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    outputs = joined(address="front.example.com")
    return dict(desired_state(outputs, outputs.hosts, ("base", "engine", "gateway")).lists)


def files(resources: Sequence[Resource]) -> dict[str, File | SshdFile]:
    return {each.path: each for each in resources if isinstance(each, File | SshdFile)}


def test_engine_and_gateway_are_on_their_own_hosts(lists: dict[str, Sequence[Resource]]) -> None:
    units = {name: {each.name for each in of if isinstance(each, Unit)} for name, of in lists.items()}
    assert {"vllm.service", *PORTS} <= units["laptop"]
    assert "haproxy.service" not in units["laptop"]
    assert "haproxy.service" in units["front"]
    assert not {"vllm.service", *PORTS} & units["front"]
    for resources in lists.values():
        payload_of(resources, dry_run=True)  # no id twice, and none is referenced before it is listed


@pytest.mark.parametrize(("name", "port"), PORTS.items())
def test_the_engine_dials_with_keep_alive_and_trusts_one_key(
    lists: dict[str, Sequence[Resource]], name: str, port: int
) -> None:
    """One port for each connection: where the gateway's host refuses one of them, ssh ends all of its connection."""
    unit = str(files(lists["laptop"])[f"/etc/systemd/system/{name}"].content)
    (dial,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert dial.count(" -R ") == 1
    for words in (
        "-p 2222",
        "ServerAliveInterval=10",
        "ExitOnForwardFailure=yes",
        "StrictHostKeyChecking=yes",
        f"-R 127.0.0.1:{port}:127.0.0.1:{port}",
        "llm-tunnel@front.example.com",
    ):
        assert words in dial
    assert "Restart=always" in unit
    assert "User=llm-tunnel" in unit
    known = str(files(lists["laptop"])["/etc/llm/tunnel/known_hosts"].content)
    assert known.startswith("[front.example.com]:2222 ssh-ed25519 ")


SSH_CONFIG = """\
Host front
  HostName front.example.com
  Port 2222
  ProxyJump ops@bastion
"""

DIALLED = {
    "its ssh_config": ({}, "-p 2222 front.example.com", "[front.example.com]:2222"),
    "the tunnel's port": ({"port": 22}, "-p 22 front.example.com", "front.example.com"),
    "the tunnel's address": ({"address": "10.0.0.4"}, "-p 2222 10.0.0.4", "[10.0.0.4]:2222"),
    "the tunnel's both": ({"address": "10.0.0.4", "port": 22}, "-p 22 10.0.0.4", "10.0.0.4"),
}
"""The tunnel's own settings; the dialled port and address, and the name of the host's key in known_hosts."""


@pytest.mark.parametrize(("tunnel", "dialled", "known_as"), DIALLED.values(), ids=DIALLED)
def test_the_engine_dials_the_address_of_the_users_ssh_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tunnel: dict[str, Any], dialled: str, known_as: str
) -> None:
    """The unit dialled the alias on port 22, which the engine's host could not resolve, and no host key matched."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    config = tmp_path / "config"
    config.write_text(SSH_CONFIG)
    hosts = (
        host_values("laptop", address="192.168.1.5"),
        host_values("front", address="front", ssh_config=str(config)),
    )
    outputs = stack(*hosts, tunnel={"engine": "laptop", "gateway": "front", **tunnel})
    found = files(desired_state(outputs, outputs.hosts, ("base", "engine", "gateway")).lists["laptop"])
    unit = str(found["/etc/systemd/system/llm-tunnel.service"].content)
    (dial,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    port, _, address = dialled.rpartition(" ")
    assert f" {port} " in dial
    assert dial.endswith(f" llm-tunnel@{address}")
    assert str(found["/etc/llm/tunnel/known_hosts"].content).startswith(f"{known_as} ssh-ed25519 ")


@pytest.mark.parametrize("port", [0, 65536, "ssh"])
def test_an_invalid_tunnel_port_is_refused(port: Any) -> None:
    with pytest.raises(ValidationError, match="port"):
        joined(port=port)


def test_the_key_may_listen_on_two_ports_of_loopback(lists: dict[str, Sequence[Resource]]) -> None:
    key = str(files(lists["front"])["/etc/llm/tunnel/authorized_keys"].content)
    listens = 'permitlisten="127.0.0.1:8000",permitlisten="127.0.0.1:8406"'
    assert key.startswith(f'restrict,port-forwarding,{listens},command="/bin/false" ssh-ed25519 ')
    sshd = str(files(lists["front"])["/etc/ssh/sshd_config.d/20-llm-tunnel.conf"].content)
    assert "PermitListen 127.0.0.1:8000 127.0.0.1:8406\n" in sshd
    private = files(lists["laptop"])["/etc/llm/tunnel/id_ed25519"]
    assert isinstance(private.content, Secret)
    assert (private.owner, private.mode) == ("llm-tunnel", 0o600)


def test_both_hosts_get_one_engine_key(lists: dict[str, Sequence[Resource]]) -> None:
    keys = [files(of)["/etc/llm/engine.env"].content for of in lists.values()]
    assert keys[0] == keys[1] == Secret(f"VLLM_API_KEY={tunnel_keys('test').engine.value}\n")
    engine = next(each for each in lists["laptop"] if isinstance(each, Unit) and each.name == "vllm.service")
    assert "file:/etc/llm/engine.env" in engine.restart_on
    assert "generated_secret:/etc/llm/engine.env" not in engine.restart_on


def test_a_second_login_proves_the_settings_of_the_base_role_and_of_the_tunnel(
    lists: dict[str, Sequence[Resource]],
) -> None:
    paths = [each.path for each in lists["front"] if isinstance(each, SshdFile)]
    assert paths == ["/etc/ssh/sshd_config.d/10-llm-deploy.conf", "/etc/ssh/sshd_config.d/20-llm-tunnel.conf"]


def test_clients_reach_only_the_gateway_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    outputs = joined()
    endpoint = desired_state(outputs, outputs.hosts, ("gateway",)).endpoint
    assert endpoint is not None
    assert endpoint.urls == ("https://203.0.113.7",)


@pytest.mark.parametrize(
    "tunnel",
    [{"engine": "laptop", "gateway": "laptop"}, {"engine": "laptop", "gateway": "other"}],
    ids=["one host for both", "a host that is not there"],
)
def test_a_tunnel_without_another_end_is_refused(tunnel: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        joined(**tunnel)


def test_keys_are_made_once_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    first = tunnel_keys("test")
    assert tunnel_keys("test") == first
    for name in ("id_ed25519", "engine-key"):
        assert (tmp_path / "stacks/test/tunnel" / name).stat().st_mode & 0o077 == 0


def test_a_tunnel_forwards_the_port_of_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    outputs = joined()
    outputs = outputs.model_copy(update={"serving": ServingSpec.model_validate({**SERVING, "engine": "ollama"})})
    lists = desired_state(outputs, outputs.hosts, ("base", "engine", "gateway")).lists
    for resources in lists.values():
        payload_of(resources, dry_run=True)
    (dial,) = (each for each in lists["laptop"] if each.id == "file:/etc/systemd/system/llm-tunnel.service")
    assert "127.0.0.1:11434:127.0.0.1:11434" in str(getattr(dial, "content", ""))


@pytest.mark.parametrize(("name", "serves"), [("laptop", True), ("front", False)])
def test_the_engines_host_serves_without_a_gateway(name: str, serves: bool) -> None:
    outputs = joined()
    (host,) = (each for each in outputs.hosts if each.name == name)
    status = HostStatus(
        host=name,
        address="",
        engine="vllm",
        models=("tiny",),
        gateway_wanted=Topology(outputs).has(host, HostRole.GATEWAY),
    )
    assert status.serves is serves
    assert ("queue" in screen(status)) is not serves
