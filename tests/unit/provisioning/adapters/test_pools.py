"""Adapters of two pools in one manifest: `base` says which hosts get one, and no other host is touched or asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from infra.contract.outputs import HostRecord
from provisioning.adapters import commands
from provisioning.adapters.hosts import AdapterHosts
from provisioning.converge import controller
from provisioning.converge.resources import Command, Resource
from provisioning.converge.result import HostResult
from provisioning.hosts.installed_names import installed_names, note_names
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from provisioning.roles.gateway.pools import pools_of
from tests.adapter_manifests import listed, write_manifest
from tests.unit.provisioning.played_hosts import record
from tests.unit.provisioning.records import SERVING, host_values, stack_values

LARGE = {"model": {"name": "large", "source": {"kind": "tiny", "name": "llama"}}}
CONTRACT = (listed("contract", 3, "a"), listed("contract", 4, "b"))
SUMMARY = (listed("summary", 1, "a", base="large"),)


class Engines:
    """Hosts whose engines serve what they were asked to serve."""

    def __init__(self) -> None:
        contract = {"versions": {"contract@3": "/3", "contract@4": "/4"}, "aliases": {"contract": "contract@3"}}
        self.served: dict[str, dict[str, Any]] = {"one": contract, "two": contract}
        self.served["three"] = {"versions": {"summary@1": "/1"}, "aliases": {"summary": "summary@1"}}
        self.asked: list[tuple[str, str]] = []
        self.given: dict[str, dict[str, Any]] = {}
        """What the program adapter-versions was to serve on each host."""

    def ask(self, host: HostRecord, command: str, *words: str) -> str:
        self.asked.append((host.name, command))
        if command == "move":
            entry = {"time": "2026-11-21T16:00:00Z", "who": words[1], "what": words[2], "adapter": "contract"}
            return json.dumps({**entry, "from": "contract@3", "to": words[0], "seconds": 0.01})
        return json.dumps({"served": self.served[host.name], "running": self.served[host.name], "history": []})

    def converge(self, host: HostRecord, resources: Sequence[Resource], **_: Any) -> HostResult:
        for each in resources:
            if isinstance(each, Command) and each.name == "adapters":
                wanted = json.loads(each.argv[-1])
                self.given[host.name] = wanted
                self.served[host.name] = {key: wanted[key] for key in ("versions", "aliases")}
        return HostResult(host=host.name, ok=True)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engines:
    """Two hosts of the pool main, one of the pool large, and their gateway's."""
    played = Engines()
    monkeypatch.setattr(AdapterHosts, "ask", lambda _, host, command, *words: played.ask(host, command, *words))
    monkeypatch.setattr(controller, "converge", played.converge)
    monkeypatch.setattr(commands, "tell_gateway", note_names)
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    hosts = [host_values(name, address=f"203.0.113.{number}") for number, name in enumerate(("one", "two"), 1)]
    hosts += [host_values("three", address="203.0.113.3", pool="large"), host_values("gate", address="203.0.113.9")]
    inventory = stack_values(*hosts, gateway_host="gate", serving=SERVING, pools={"large": LARGE})
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    write_manifest(tmp_path / "adapters" / "test.yaml", *CONTRACT, *SUMMARY)
    return played


def test_an_adapter_comes_to_the_hosts_of_its_base_alone(engines: Engines, target: Target) -> None:
    commands.apply(target)
    assert {host: sorted(given["versions"]) for host, given in engines.given.items()} == {
        "one": ["contract@3", "contract@4"],
        "two": ["contract@3", "contract@4"],
        "three": ["summary@1"],
    }


def test_a_name_is_moved_in_its_pool_alone(engines: Engines, target: Target, tmp_path: Path) -> None:
    assert commands.promote(target, "contract@4") == 0
    assert {host for host, _ in engines.asked} == {"one", "two"}
    assert [line["hosts"] for line in record(tmp_path)] == [("one", "two")]


@pytest.mark.parametrize("last", [False, True], ids=["one of two", "the last one"])
def test_a_retired_name_leaves_its_pool_alone(engines: Engines, target: Target, tmp_path: Path, *, last: bool) -> None:
    """The last adapter of a pool stayed in its engine, and every later apply was refused."""
    other = () if last else (listed("clause", 1, "b", base="large"),)
    write_manifest(tmp_path / "adapters" / "test.yaml", *CONTRACT, *SUMMARY, *other)
    commands.apply(target)
    before = {host: engines.served[host] for host in ("one", "two")}
    write_manifest(tmp_path / "adapters" / "test.yaml", *CONTRACT, *other)
    commands.apply(target, ["summary"])
    assert {host: engines.served[host] for host in ("one", "two")} == before
    assert set(engines.served["three"]["versions"]) == ({"clause@1"} if other else set())
    assert installed_names(load(target)) == {
        "one": ("tiny", "contract", "contract@3", "contract@4"),
        "two": ("tiny", "contract", "contract@3", "contract@4"),
        "three": ("large", *(("clause", "clause@1") if other else ())),
    }
    commands.apply(target)  # nothing is left to retire


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (listed("large", 1, "a"), "large is also a name in"),
        (listed("tiny", 1, "a", base="large"), "tiny is also a name in"),
        (listed("contract", 5, "a", base="large"), "contract"),
        (listed("other", 1, "a", base="none"), "none is not the base model"),
    ],
    ids=["another pool's model", "the model of main", "an adapter of main", "nobody's base"],
)
@pytest.mark.usefixtures("engines")
def test_a_name_of_another_pool_is_refused(target: Target, tmp_path: Path, adapter: Any, words: str) -> None:
    write_manifest(tmp_path / "adapters" / "test.yaml", *CONTRACT, adapter)
    with pytest.raises(ConfigError, match=words):
        commands.apply(target)


@pytest.mark.usefixtures("engines")
def test_a_host_is_not_asked_for_an_adapter_before_it_came(target: Target) -> None:
    """Host two failed when contract@4 came, and three was never provisioned with its adapter."""
    outputs = load(target)
    old = ("tiny", "contract", "contract@3")
    note_names(outputs, {"one": (*old, "contract@4"), "two": old, "three": ("large",)})
    (gate,) = (host for host in outputs.hosts if host.name == "gate")
    found = {
        server.name: server.names
        for pool in pools_of(outputs, gate, installed_names(outputs))
        for server in pool.servers
    }
    assert found == {"one": (*old, "contract@4"), "two": old, "three": ("large",)}
