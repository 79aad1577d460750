"""A stack that lists no adapters any more: what its hosts served is named, ends, and may be pruned."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from provisioning.apply.desired_state import desired_state
from provisioning.converge.resources import Command
from provisioning.programs.adapters import adapter_versions, stored_folders
from provisioning.roles.engine.adapters import ADAPTER_VERSIONS
from tests.unit.provisioning.records import SERVING, stack

NO_ENGINE = "1"
"""A port on which nothing answers."""


def last_words(data: Path, engine: str) -> Command:
    """Return the desired state of such a stack."""
    spec = stack(serving={**SERVING, "engine": engine})
    wanted = desired_state(spec, spec.hosts, ["engine"]).lists["one"]
    (command,) = (each for each in wanted if isinstance(each, Command) and each.name == "adapters")
    assert "command:engine-release" in command.after, "until then the engine before it may have to start again"
    port = str(spec.serving.port)
    replaced = {ADAPTER_VERSIONS: str(adapter_versions.__file__), port: NO_ENGINE}
    # The config refuses a folder below /tmp, where a test has its own.
    place = spec.hosts[0].data_dir
    replaced |= {f"{place}{below}": f"{data}{below}" for below in ("", "/adapters/served.json")}
    argv, check = (tuple(replaced.get(word, word) for word in words) for words in (command.argv, command.check))
    return Command(name=command.name, argv=argv, check=check)


def run(argv: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("engine", ["vllm", "ollama"])
def test_what_was_served_is_named_by_a_plan_and_may_be_pruned_afterwards(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the folders stayed in use for ever, no plan named a version, and a later manifest was refused."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    data = tmp_path / "data"
    command = last_words(data, engine)
    assert run(command.check) == (0, ""), "a host that never served any, and has no program for them"

    folder = data / "adapters" / "contract@3"
    folder.mkdir(parents=True)
    served = {"versions": {"contract@3": str(folder)}, "aliases": {"contract": "contract@3"}}
    (data / "adapters" / "served.json").write_text(json.dumps(served))
    planned = "planned: contract@3 stops being served\nplanned: contract stops being served\n"
    assert run(command.check) == (1, planned)
    assert str(folder) in stored_folders.in_use(data)

    assert run(command.argv) == (0, "")
    assert run(command.check) == (0, "")
    assert str(folder) not in stored_folders.in_use(data)


def test_an_engine_with_adapters_serves_them_by_its_own_command() -> None:
    tiny = {"kind": "tiny", "name": "llama", "adapter": "a"}
    serving = {**SERVING, "adapters": [{"name": "contract", "version": 3, "source": tiny}]}
    spec = stack(serving=serving)
    wanted = desired_state(spec, spec.hosts, ["engine"]).lists["one"]
    (command,) = (each for each in wanted if each.id == "command:adapters")
    assert isinstance(command, Command)
    assert command.argv[:3] == ("python3", ADAPTER_VERSIONS, "apply")
