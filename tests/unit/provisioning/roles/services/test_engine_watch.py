"""The resources of the watcher for each kind of host."""

import json
from typing import Any

import pytest

from infra.contract.outputs import StackOutputs
from provisioning.apply.desired_state import joined
from provisioning.converge.resources import File, Resource, Unit
from provisioning.roles.services.engine_watch import SETTINGS, engine_watch
from provisioning.roles.services.role import services
from services.engine_watch.settings import Settings
from tests.unit.provisioning.records import SERVING, host_values, stack

L4 = {"model": "L4", "count": 1, "vram_gib": 22.0}
ADAPTER = {"name": "contract", "version": 3, "source": {"kind": "tiny", "name": "llama", "adapter": "a"}}


def content(resources: list[Resource], path: str) -> str:
    return next(str(each.content) for each in resources if isinstance(each, File) and each.path == path)


def settings(outputs: StackOutputs, tmp_path: Any) -> Settings:
    (tmp_path / "settings").write_text(content(engine_watch(outputs.hosts[-1], outputs), SETTINGS))
    return Settings.read(f"{tmp_path}/settings")


GATEWAY_MACHINE = {"gateway_host": "front"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "CPU": ({}, {}, {"gpu": False, "burning_s": 600, "agent_address": "127.0.0.1", "port": 8000}),
    "GPU": ({"gpu": L4}, {}, {"gpu": True, "burning_s": 60}),
    "Ollama on a GPU": ({"gpu": L4}, {"serving": {**SERVING, "engine": "ollama"}}, {"gpu": True, "burning_s": 600}),
    "Ollama": (
        {},
        {"serving": {**SERVING, "engine": "ollama"}},
        {"engine": "ollama", "unit": "ollama.service", "base": "tiny:latest", "port": 11434},
    ),
    "gateway machine": ({}, GATEWAY_MACHINE, {"agent_address": "::"}),
}


@pytest.mark.parametrize(("host", "changed", "expected"), CASES.values(), ids=CASES)
def test_the_watcher_reads_what_the_role_writes(
    host: dict[str, Any], changed: dict[str, Any], expected: dict[str, Any], tmp_path: Any
) -> None:
    hosts = (
        [host_values("front", address="203.0.113.1"), host_values("gpu", **host)]
        if "gateway_host" in changed
        else [host_values(**host)]
    )
    seen = settings(stack(*hosts, **changed), tmp_path)
    assert {name: getattr(seen, name) for name in expected} == expected


def test_asks_each_version_of_an_adapter_once() -> None:
    outputs = stack(serving={**SERVING, "adapters": [ADAPTER]})
    names = content(engine_watch(outputs.hosts[0], outputs), "/etc/llm/engine-watch-adapters.json")
    assert json.loads(names) == ["contract@3"]


def test_dependencies_come_first_and_ids_differ() -> None:
    outputs = stack()
    seen: set[str] = set()
    for each in joined(engine_watch(outputs.hosts[0], outputs)):
        assert each.id not in seen
        assert set(each.after) <= seen, each.id
        seen.add(each.id)


def test_no_change_of_the_adapters_restarts_the_watcher() -> None:
    outputs = stack()
    resources = engine_watch(outputs.hosts[0], outputs)
    (unit,) = (each for each in resources if isinstance(each, Unit) and each.name == "llm-engine-watch.service")
    assert "file:/etc/llm/engine-watch-adapters.json" not in unit.restart_on
    assert {"file:/etc/llm/engine-watch.json", "generated_secret:/etc/llm/engine.env"} < set(unit.restart_on)


def test_a_gateway_without_engine_has_no_watcher() -> None:
    outputs = stack(host_values("front", address="203.0.113.1"), host_values("gpu"), **GATEWAY_MACHINE)
    assert services(outputs.hosts[0], outputs) == []
    assert services(outputs.hosts[1], outputs) != []


def lines(resources: list[Resource], unit: str) -> set[str]:
    return set(content(resources, f"/etc/systemd/system/{unit}").splitlines())


def test_the_watcher_has_no_rights_and_root_runs_one_command_for_it() -> None:
    outputs = stack()
    resources = engine_watch(outputs.hosts[0], outputs)
    assert {
        "User=llm-watch",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        "EnvironmentFile=/etc/llm/engine.env",
        "Restart=always",
        "WatchdogSec=30",
    } <= lines(resources, "llm-engine-watch.service")
    assert "PathExists=/run/llm-watch/restart" in lines(resources, "llm-engine-restart.path")
    commands = [each for each in lines(resources, "llm-engine-restart.service") if each.startswith("Exec")]
    assert sorted(commands) == [
        "ExecStart=/bin/rm -f /run/llm-watch/restart",
        "ExecStart=/bin/systemctl kill --signal=SIGKILL vllm.service",
    ]


def test_a_watcher_on_a_gpu_host_may_ask_the_driver() -> None:
    outputs = stack(host_values(gpu=L4))
    assert "DeviceAllow=char-nvidia rw" in lines(engine_watch(outputs.hosts[0], outputs), "llm-engine-watch.service")
    assert "PrivateDevices=yes" in lines(engine_watch(stack().hosts[0], stack()), "llm-engine-watch.service")
