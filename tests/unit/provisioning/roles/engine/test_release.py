"""Both engines' resources around a release: checked before, kept after a completion, undone in between."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioning.apply.desired_state import desired_state
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import Command, Resource, Unit
from provisioning.programs.engine import engine_release
from provisioning.roles import ROLES
from provisioning.roles.engine.release import ENGINE_RELEASE, Release
from provisioning.roles.host.layout import ENGINE_UNIT, RELEASE_NOTES
from tests.unit.provisioning.converge.agent_runner import run_agent
from tests.unit.provisioning.records import SERVING, host_values, stack

ENGINES = ("vllm", "ollama")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))


def desired(engine: str, *, allow_downgrade: bool = False) -> Sequence[Resource]:
    outputs = stack(serving={**SERVING, "engine": engine})
    return desired_state(outputs, outputs.hosts, ["engine"], allow_downgrade=allow_downgrade).lists["one"]


def reached(from_id: str, wanted: Sequence[Resource]) -> set[str]:
    """Return the ids that are stopped when `from_id` fails."""
    stopped = {from_id}
    for each in wanted:
        if stopped & {*each.after, *getattr(each, "restart_on", ())}:
            stopped.add(each.id)
    return stopped


@pytest.mark.parametrize("gpu", [None, {"model": "L4", "count": 1, "vram_gib": 22.0}], ids=["cpu", "gpu"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_downgrade_changes_nothing_on_the_host(engine: str, gpu: Any) -> None:
    """Models, helpers and the plugin of the older checkout were installed before the refusal."""
    outputs = stack(host_values(gpu=gpu), serving={**SERVING, "engine": engine})
    wanted = desired_state(outputs, outputs.hosts, ROLES).lists["one"]
    assert reached("command:engine-version", wanted) == {each.id for each in wanted}
    assert wanted[0].id == "command:engine-version"
    payload_of(wanted, dry_run=False)  # no resource comes before its dependencies


@pytest.mark.parametrize(
    ("present", "status"),
    [
        (None, 0),
        ("exit(0)", 0),
        ("print('older than 2.0'); exit(1)", 1),
        ("exit(sys.argv[1:] != ['may', 'U', '1'])", 0),
    ],
    ids=["a host without an engine", "allowed", "refused", "asked in its words"],
)
def test_the_program_on_the_host_decides(present: str | None, status: int, tmp_path: Path) -> None:
    """Not this checkout's program, which may not be installed before the version is allowed."""
    program = tmp_path / "engine-release"
    if present is not None:
        program.write_text(f"import sys\n{present}\n")
    (check,) = Release(unit="U", link="", version="1").version_check
    for asked, words in ((check.argv, "older than 2.0\n"), (check.check, "planned: fail: older than 2.0\n")):
        argv = [str(program) if word == ENGINE_RELEASE else word for word in asked]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (status, "")
        assert done.stdout == (words if status else "")


def test_a_plan_of_a_downgrade_fails_like_provision(tmp_path: Path) -> None:
    """It ended with 0 and `1 to change`."""
    program = tmp_path / "engine-release"
    program.write_text("print('version 1 is older than 2'); exit(1)\n")
    (check,) = Release(unit="U", link="", version="1").version_check
    argv, asked = (
        tuple(str(program) if word == ENGINE_RELEASE else word for word in words) for words in (check.argv, check.check)
    )
    for mode in ("plan", "apply"):
        ended = run_agent(tmp_path, [replace(check, argv=argv, check=asked)], mode=mode)
        assert (ended.status, ended.of(check.id)["status"]) == (1, "failed")
        assert ended.of(check.id)["error"] == "version 1 is older than 2"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_allowed_downgrade_is_not_checked(engine: str) -> None:
    allowed = [each.id for each in desired(engine, allow_downgrade=True)]
    assert "command:engine-version" not in allowed
    assert [each.id for each in desired(engine) if each.id in allowed] == allowed


@pytest.mark.parametrize("engine", ENGINES)
def test_a_release_is_kept_only_after_its_unit_has_started(engine: str) -> None:
    wanted = desired(engine)
    keep = next(each for each in wanted if isinstance(each, Command) and each.name == "engine-release")
    assert keep.after == ("command:engine-version", f"unit:{ENGINE_UNIT[engine]}")
    assert re.fullmatch(r"\d+\.\d+\.\d+", keep.argv[-1])
    unit = next(each for each in wanted if isinstance(each, Unit) and each.name == ENGINE_UNIT[engine])
    assert unit.undo[2:] == ("return", unit.name, keep.argv[-2])
    assert unit.ready  # the unit is up only after it has answered a completion


def test_status_reads_the_file_that_the_program_writes() -> None:
    assert str(engine_release.NOTES) == RELEASE_NOTES
