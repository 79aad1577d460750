"""A name that is served stays served until somebody retires it: hosts are played by what their program says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError, UsageError
from provisioning.adapters import commands
from provisioning.hosts.installed_names import note_names
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from tests.adapter_manifests import listed, write_manifest
from tests.unit.provisioning.played_hosts import Hosts, record
from tests.unit.provisioning.records import host_values, stack_values


@pytest.mark.parametrize("task", [commands.plan, commands.apply])
def test_served_name_is_not_removed_without_retire(
    hosts: Hosts, target: Target, tmp_path: Path, task: Callable[[Target], int]
) -> None:
    """Once `summary` answered 404 after its lines were removed from the manifest, and apply only printed ✓."""
    hosts.others = {"summary": "summary@1"}
    with pytest.raises(ConfigError) as caught:
        task(target)
    assert "test.yaml: summary is summary@1 on one, two and no longer listed: it would stop being" in str(caught.value)
    assert f'run `make adapters DO=apply ARGS="--retire summary" INVENTORY={tmp_path}/hosts.json`' in caught.value.hint
    assert hosts.converged == []


def test_recorded_name_is_not_removed_without_retire(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    commands.promote(target, "contract@4")
    write_manifest(tmp_path / "adapters" / "test.yaml", listed("summary", 1, "b"))
    hosts.means = dict.fromkeys(hosts.means, "contract@4")
    with pytest.raises(ConfigError, match=r"test.yaml: contract is contract@4 on one, two and no longer listed"):
        commands.apply(target)


def test_name_is_retired_by_the_option_and_can_come_back(
    hosts: Hosts, target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.others = {"summary": "summary@1"}
    commands.plan(target, ["summary"])
    assert "summary stops being served: summary@1 on one, two" in capsys.readouterr().err
    assert record(tmp_path) == []
    assert hosts.others

    for _ in range(2):
        commands.apply(target, ["summary"])
        assert "summary retired, no other name was moved" in capsys.readouterr().err
    (line,) = record(tmp_path)
    assert [line[key] for key in ("what", "adapter", "from", "to")] == ["retire", "summary", "summary@1", ""]
    commands.apply(target)

    write_manifest(tmp_path / "adapters" / "test.yaml", listed("contract", 3, "a"), listed("summary", 2, "b"))
    assert load(target).serving.served_names == ("tiny", "contract", "contract@3", "summary", "summary@2")


@pytest.mark.parametrize(
    ("name", "words"),
    [("contract", "--retire: contract is still listed; remove"), ("sumary", "no adapter is called sumary; ")],
)
@pytest.mark.usefixtures("hosts")
def test_only_a_name_that_is_served_and_not_listed_is_retired(target: Target, name: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        commands.apply(target, [name])
    assert words in str(caught.value)


def test_the_gateways_host_forgets_a_retired_name_before_the_engines_do(
    hosts: Hosts, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for a name that is just being removed would reach an engine that no longer has it."""
    engines = [host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(("one", "two"), start=1)]
    pool = stack_values(*engines, host_values("gate", address="203.0.113.9"), gateway_host="gate")
    (tmp_path / "hosts.json").write_text(json.dumps(pool))
    outputs = load(target)
    before = (*outputs.serving.served_names, "summary", "summary@1")
    note_names(outputs, {"one": before, "two": before})
    hosts.others = {"summary": "summary@1"}
    seen: list[tuple[int, dict[str, tuple[str, ...]]]] = []
    monkeypatch.setattr(commands, "tell_gateway", lambda _, names: seen.append((len(hosts.converged), dict(names))))

    commands.apply(target, ["summary"])

    names = ("tiny", "contract", "contract@3", "contract@4")
    assert seen == [(0, {"one": names, "two": names}), (1, {"one": names, "two": names})]
