"""What a gateway has behind it: the engine of its own host, of a tunnel's far end, or the doors of other hosts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from core.ports import DOOR_PORT
from infra.contract.outputs import StackOutputs
from provisioning.apply.desired_state import desired_state
from provisioning.converge.resources import File, Resource, Secret
from provisioning.hosts.installed_names import all_names
from provisioning.roles.gateway.policy import policy_text
from provisioning.roles.gateway.pools import engines_behind, pools_of
from provisioning.roles.gateway.process import Places
from provisioning.roles.host.layout import ENGINE_ENV, FIREWALL_RULES
from provisioning.roles.services.engine_watch import SETTINGS as ENGINE_WATCH_SETTINGS
from provisioning.templates import render as render_module
from serving.spec.gateway_places import engine_places
from serving.spec.pool_name import OWN_BACKENDS, RESERVED, is_reserved
from tests.unit.provisioning.records import host_values, stack


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    return tmp_path


def behind_gate() -> StackOutputs:
    """Return two hosts behind a third."""
    hosts = [
        host_values("gpu-1", address="198.51.100.1", private_address="10.0.0.1", pool="chat"),
        host_values("gpu-2", address="198.51.100.2", private_address="10.0.0.2", pool="chat"),
        host_values("gate", address="198.51.100.9", private_address="10.0.0.9", client_cidrs=["203.0.113.0/24"]),
    ]
    return stack(*hosts, gateway_host="gate", gateway={"max_concurrency": 3})


def test_a_gateways_host_has_the_doors_of_the_others_behind_it() -> None:
    outputs = behind_gate()
    one, _two, gate = outputs.hosts
    (pool,) = pools_of(outputs, gate, {"gpu-1": ("tiny",), "gpu-2": ()})
    assert (pool.name, pool.places, pool.behind_doors) == ("chat", 6, True)
    assert [(each.name, each.at, each.names) for each in pool.servers] == [
        ("gpu-1", f"10.0.0.1:{DOOR_PORT}", ("tiny",)),
        ("gpu-2", f"10.0.0.2:{DOOR_PORT}", ()),
    ]
    assert engines_behind(outputs, one) == (one,)


def test_a_host_alone_has_its_own_engine_behind_it() -> None:
    outputs = stack(host_values("a"), host_values("b"))
    (pool,) = pools_of(outputs, outputs.hosts[1], {})
    assert (pool.name, pool.behind_doors) == ("main", False)
    assert [(each.name, each.at, each.names) for each in pool.servers] == [("b", "127.0.0.1:8000", ("tiny",))]


def test_no_pool_may_have_the_name_of_another_backend() -> None:
    template = (Path(render_module.__file__).parent / "haproxy.cfg.j2").read_text(encoding="utf-8")
    assert set(re.findall(r"^backend ([a-z-]+)$", template, re.MULTILINE)) == set(OWN_BACKENDS)
    sections = re.findall(r"^(?:backend|frontend) ([a-z-]+)$", template, re.MULTILINE)
    assert set(sections) == set(RESERVED)
    door = (Path(render_module.__file__).parent / "haproxy-door.cfg.j2").read_text(encoding="utf-8")
    own = [name for name in re.findall(r"^backend (.+)$", door, re.MULTILINE) if name != "{{ pool }}"]
    assert own == ['metrics{{ path | replace("/", "-") }}']  # paths begin with /
    assert is_reserved("metrics-node-metrics")


def two_pools() -> StackOutputs:
    """Return a host of each of two pools behind a third host."""
    hosts = [
        host_values("gpu-1", address="198.51.100.1", private_address="10.0.0.1"),
        host_values("gpu-2", address="198.51.100.2", private_address="10.0.0.2", pool="large"),
        host_values("gate", address="198.51.100.9", private_address="10.0.0.9"),
    ]
    model = {"name": "large", "source": {"kind": "tiny", "name": "llama"}}
    large = {"model": model, "vllm": {"port": 8001, "max_sequences": 3}}
    return stack(*hosts, gateway_host="gate", pools={"large": large})


def test_each_pool_has_its_hosts_names_and_places() -> None:
    outputs = two_pools()
    names = {"gpu-1": ("tiny",), "gpu-2": ("large",)}
    assert [
        (pool.name, pool.serving.model.name, pool.places, [server.name for server in pool.servers])
        for pool in pools_of(outputs, outputs.hosts[2], names)
    ] == [
        ("main", "tiny", engine_places(outputs.serving), ["gpu-1"]),
        ("large", "large", 3, ["gpu-2"]),
    ]
    assert all_names(outputs) == names


def test_a_host_that_changed_its_pool_takes_no_name_of_the_old_one_away() -> None:
    hosts = [
        host_values("gpu-1", address="198.51.100.1"),
        host_values("gpu-2", address="198.51.100.2", pool="large"),
        host_values("gpu-3", address="198.51.100.3", pool="large"),
        host_values("gate", address="198.51.100.9"),
    ]
    large = {"model": {"name": "large", "source": {"kind": "tiny", "name": "llama"}}}
    outputs = stack(*hosts, gateway_host="gate", pools={"large": large})
    installed = {"gpu-1": ("tiny",), "gpu-2": ("large",), "gpu-3": ("tiny",)}
    pools = pools_of(outputs, outputs.hosts[3], installed)
    assert [server.names for pool in pools for server in pool.servers] == [("tiny",), ("large",), ()]
    assert policy_text(pools, outputs.gateway).count('["pool"] = 1') == 1
    mixed = [*pools, replace(pools[1], servers=pools[0].servers)]
    with pytest.raises(AssertionError, match="large is also one of another pool"):
        policy_text(mixed, outputs.gateway)


@pytest.mark.usefixtures("state")
def test_a_host_gets_the_model_of_its_pool() -> None:
    outputs = two_pools()
    lists = desired_state(outputs, outputs.hosts, ("engine", "gateway", "services")).lists
    for name, model, port in (("gpu-1", "tiny", 8000), ("gpu-2", "large", 8001)):
        door = content(list(lists[name]), Places().config)
        assert f"127.0.0.1:{port}" in door
        settings = json.loads(content(list(lists[name]), ENGINE_WATCH_SETTINGS))
        assert (settings["base"], settings["port"]) == (model, port)
    config = content(list(lists["gate"]), Places().config)
    assert config.index("backend main") < config.index("backend large")
    assert "engine-metrics" not in config


def content(resources: list[Resource], path: str) -> str:
    """Return the text of the file at `path`."""
    (file,) = [each for each in resources if isinstance(each, File) and each.path == path]
    return file.content.value if isinstance(file.content, Secret) else str(file.content)


@pytest.mark.usefixtures("state")
def test_hosts_of_a_pool_share_a_key_and_let_in_only_each_other() -> None:
    outputs = behind_gate()
    lists = {
        name: list(each) for name, each in desired_state(outputs, outputs.hosts, ("base", "gateway")).lists.items()
    }
    keys = {content(each, ENGINE_ENV) for each in lists.values()}
    assert len(keys) == 1
    assert all(key.startswith("VLLM_API_KEY=") for key in keys)
    for name in ("gpu-1", "gpu-2"):
        rules = content(lists[name], FIREWALL_RULES)
        assert "ip saddr { 10.0.0.9/32 } tcp dport { 8406, 8443 } accept" in rules
        assert "443 accept" not in rules
    rules = content(lists["gate"], FIREWALL_RULES)
    assert "ip saddr { 203.0.113.0/24 } tcp dport 443 accept" in rules
    assert "8443" not in rules
    config = content(lists["gate"], Places().config)
    for number in (1, 2):
        line = next(line for line in config.splitlines() if f"server gpu-{number} " in line)
        assert f"tcp-ut 10s ssl verify required ca-file {Places().ca} verifyhost gpu-{number}" in line
    assert content(lists["gate"], Places().ca).startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.usefixtures("state")
def test_a_plan_of_a_pool_keeps_no_key_and_no_certificate(state: Path) -> None:
    outputs = behind_gate()
    desired_state(outputs, outputs.hosts, ("base", "gateway"), keep=False)
    assert [path for path in state.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []
