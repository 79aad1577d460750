"""What both engines' roles wish for around a release: asked before, kept after a completion, taken back in between."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from provisioning.converge.resources import Command, Resource, Unit
from provisioning.programs import engine_release
from provisioning.roles.layout import ENGINE_UNIT, RELEASE_NOTES
from provisioning.wishes import wishes_for
from tests.unit.provisioning.records import SERVING, stack

ENGINES = ("vllm", "ollama")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))


def wishes(engine: str, *, allow_downgrade: bool = False) -> Sequence[Resource]:
    outputs = stack(serving={**SERVING, "engine": engine})
    return wishes_for(outputs, outputs.hosts, ["engine"], allow_downgrade=allow_downgrade).lists["one"]


def reached(from_id: str, wanted: Sequence[Resource]) -> set[str]:
    """Return the ids that are stopped when `from_id` fails."""
    stopped = {from_id}
    for each in wanted:
        if stopped & {*each.after, *getattr(each, "restart_on", ())}:
            stopped.add(each.id)
    return stopped


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_downgrade_leaves_release_and_unit_alone(engine: str) -> None:
    unit = ENGINE_UNIT[engine]
    stopped = reached("command:engine-version", wishes(engine))
    assert {f"unit:{unit}", f"file:/etc/systemd/system/{unit}", "command:engine-release"} <= stopped
    assert stopped & {"venv:/var/lib/llm/venvs/vllm", "link:/var/lib/llm/ollama/current"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_wished_downgrade_asks_nobody(engine: str) -> None:
    allowed = [each.id for each in wishes(engine, allow_downgrade=True)]
    assert "command:engine-version" not in allowed
    assert [each.id for each in wishes(engine) if each.id in allowed] == allowed


@pytest.mark.parametrize("engine", ENGINES)
def test_a_release_is_kept_only_when_its_unit_came_up(engine: str) -> None:
    wanted = wishes(engine)
    keep = next(each for each in wanted if isinstance(each, Command) and each.name == "engine-release")
    assert keep.after == (f"unit:{ENGINE_UNIT[engine]}",)
    assert re.fullmatch(r"\d+\.\d+\.\d+", keep.argv[-1])
    unit = next(each for each in wanted if isinstance(each, Unit) and each.name == ENGINE_UNIT[engine])
    assert unit.undo[2:] == ("return", unit.name, keep.argv[-2])
    assert unit.ready  # a completion: the unit has not come up before it was answered


def test_status_looks_where_the_program_writes() -> None:
    assert str(engine_release.NOTES) == RELEASE_NOTES
