"""Results are written to the folder of their run, and `latest` links to the newest."""

import json
import re
from pathlib import Path

import pytest

from core.runs import RUN_VARIABLE, run_name, write_result


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of results, and no shared run."""
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    return tmp_path


def test_a_run_is_named_after_the_time_to_the_millisecond() -> None:
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z", run_name())


def test_a_result_is_readable_json(runs: Path) -> None:
    path = write_result("local", "smoke.json", {"said": "„Grüß Gott“", "checks": [1]})
    assert path.parent.parent == runs / "local"
    assert "„Grüß Gott“" in path.read_text()
    assert json.loads(path.read_text()) == {"said": "„Grüß Gott“", "checks": [1]}


def test_latest_links_to_the_newest_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latest = runs / "local/latest"
    for run in ("20261121T120000.000Z", "20261121T120001.000Z"):
        monkeypatch.setenv(RUN_VARIABLE, run)
        write_result("local", "smoke.json", {"run": run})
        assert str(latest.readlink()) == run
        assert json.loads((latest / "smoke.json").read_text()) == {"run": run}
    assert sorted(each.name for each in latest.parent.iterdir()) == [
        "20261121T120000.000Z", "20261121T120001.000Z", "latest",
    ]  # fmt: skip


def test_commands_of_one_run_share_its_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_VARIABLE, "20261121T120000.000Z")
    first = write_result("local", "provision.json", {})
    second = write_result("local", "smoke.json", {})
    assert first.parent == second.parent == runs / "local/20261121T120000.000Z"


def test_stacks_do_not_share_latest(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stack, run in (("one", "20261121T120000.000Z"), ("two", "20261121T120001.000Z")):
        monkeypatch.setenv(RUN_VARIABLE, run)
        write_result(stack, "smoke.json", {})
    assert str((runs / "one/latest").readlink()) == "20261121T120000.000Z"
    assert str((runs / "two/latest").readlink()) == "20261121T120001.000Z"
