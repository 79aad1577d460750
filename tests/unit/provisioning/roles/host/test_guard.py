"""Who may connect to an engine, on each kind of host. tests/machine tests the rules in the kernel."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.contract.outputs import StackOutputs
from provisioning.apply.desired_state import desired_state
from provisioning.converge.resources import File, Resource, Unit
from provisioning.roles.host.layout import ENGINE_UNIT
from tests.unit.provisioning.records import SERVING, host_values, stack

RULES = "/etc/llm/engine-guard.nft"
LOAD = "/usr/local/lib/llm-deploy/nft-rules load /etc/llm/engine-guard.nft llm_engine"
PORTS = {"vllm": 8000, "ollama": 11434}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))


def joined(engine: str) -> StackOutputs:
    hosts = (host_values("laptop"), host_values("front"))
    tunnel = {"engine": "laptop", "gateway": "front"}
    return stack(*hosts, tunnel=tunnel, serving={**SERVING, "engine": engine})


def desired(outputs: StackOutputs, name: str) -> Sequence[Resource]:
    return desired_state(outputs, outputs.hosts, ("base", "engine", "gateway")).lists[name]


def text(resources: Sequence[Resource], path: str) -> str:
    return next(str(each.content) for each in resources if isinstance(each, File) and each.path == path)


@pytest.mark.parametrize("engine", PORTS)
@pytest.mark.parametrize(
    ("tunnel", "name", "allowed", "listener"),
    [
        (False, "one", "root, llm, haproxy, llm-watch", "llm"),
        (True, "laptop", "root, llm, haproxy, llm-watch, llm-tunnel", "llm"),
        (True, "front", "root, haproxy", "llm-tunnel"),
    ],
    ids=["engine and gateway on one host", "the engine's end of a tunnel", "the gateway's end of a tunnel"],
)
def test_only_named_accounts_may_connect_to_the_engine(
    engine: str, tunnel: bool, name: str, allowed: str, listener: str
) -> None:
    outputs = joined(engine) if tunnel else stack(serving={**SERVING, "engine": engine})
    resources = desired(outputs, name)
    port = f"{{ {PORTS[engine]}, 8406 }}" if name == "front" else PORTS[engine]
    rule = f'oifname "lo" tcp dport {port} meta skuid != {{ {allowed} }} counter reject'
    assert rule in text(resources, RULES)
    answers = f'oifname "lo" tcp sport {port} meta skuid != {{ root, {listener} }} counter drop'
    assert answers in text(resources, RULES)
    (rules,) = (each for each in resources if each.id == f"file:{RULES}")
    before = {each.id for each in resources[: resources.index(rules)]}
    users = {f"user:{user}" for user in (*allowed.split(", "), listener) if user != "root"}
    assert users <= before  # nft refuses a name that the host does not know
    assert users - {"user:llm"} <= set(rules.after)


@pytest.mark.parametrize(("engine", "name"), [("ollama", "laptop"), ("vllm", "laptop"), ("ollama", "front")])
def test_the_guard_with_its_old_name_is_removed_first(engine: str, name: str) -> None:
    """It stayed in the kernel until a reboot, and its rules, which do not know a tunnel, reset the tunnel's."""
    lines = [line for line in text(desired(joined(engine), name), RULES).splitlines() if not line.startswith("#")]
    assert lines[:2] == ["table inet llm_ollama", "delete table inet llm_ollama"]


@pytest.mark.parametrize("changed", [{}, {"port": 9100}], ids=["its own port", "another port"])
@pytest.mark.parametrize("engine", PORTS)
def test_an_engine_never_starts_before_its_guard(engine: str, changed: dict[str, Any]) -> None:
    resources = desired(stack(serving={**SERVING, "engine": engine, engine: changed}), "one")
    unit = text(resources, f"/etc/systemd/system/{ENGINE_UNIT[engine]}")
    lines = [line for line in unit.splitlines() if re.match("ExecStart(Pre)?=", line)]
    assert lines[0] == f"ExecStartPre=+{LOAD}"
    assert lines[-1].startswith("ExecStart=")
    assert f"dport {changed.get('port', PORTS[engine])} " in text(resources, RULES)


def test_a_tunnel_is_admitted_if_its_port_is_guarded_now_and_after_a_reboot() -> None:
    resources = desired(joined("vllm"), "front")
    unit = next(each for each in resources if isinstance(each, Unit) and each.name == "llm-engine-guard.service")
    assert (unit.enabled, unit.running, unit.reload_on) == (True, True, (f"file:{RULES}",))
    key = next(each for each in resources if each.id == "file:/etc/llm/tunnel/authorized_keys")
    assert unit.id in key.after
    content = text(resources, f"/etc/systemd/system/{unit.name}")
    assert f"ExecStart={LOAD}" in content
    assert "Before=network-pre.target" in content
    assert "nft-rules drop llm_engine" in content
