"""The host's program that lists the folders of models and adapters and removes unused ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from provisioning.programs.adapters import stored_folders


class Host:
    """A host's data folder, and the program on it."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys
        (data / "adapters").mkdir(parents=True)

    def folder(self, name: str) -> Path:
        path = self.data / name
        path.mkdir(parents=True)
        return path

    def run(self, command: str, *words: str) -> Any:
        """Return its output."""
        assert stored_folders.main(command, str(self.data), *words) == 0
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(stored_folders, "UNITS", tmp_path)
    monkeypatch.setattr(stored_folders, "RELEASE_NOTES", tmp_path)
    return Host(tmp_path / "data", capsys)


def test_only_unused_folders_are_removed(host: Host) -> None:
    kept, served, old = (host.folder(each) for each in ("models/base@1", "adapters/contract@3", "models/base@0"))
    (host.data / "adapters/served.json").write_text(json.dumps({"versions": {"contract@3": str(served)}}))
    (old / "weights").write_bytes(b"12345")
    sizes = {folder["path"]: folder["bytes"] for folder in host.run("show")}
    assert sizes == {str(kept): 0, str(served): 0, str(old): 5}
    assert host.run("prune", json.dumps([str(kept)])) == [str(old)]
    assert [folder.exists() for folder in (kept, served, old)] == [True, True, False]


def test_the_model_that_an_engine_runs_or_returns_to_is_kept(host: Host, tmp_path: Path) -> None:
    """Another revision in the stack file was enough to remove the weights of the serving engine."""
    good, runs, next_, old = (host.folder(f"models/base@{name}") for name in ("good", "runs", "next", "run"))
    (tmp_path / "vllm.service").write_text(f"ExecStart=/venv/bin/python --model {runs} --port 8000\n")
    note = {"good": {"unit": f"ExecStart=/venv/bin/python --model {good}\n"}, "former": {"unit": f"x {old}"}}
    (tmp_path / "vllm.service.json").write_text(json.dumps(note))
    (tmp_path / "ollama.service.json").write_text(json.dumps({"good": None}))
    in_use = {folder["path"]: folder["in_use"] for folder in host.run("show")}
    assert in_use == {str(good): True, str(runs): True, str(next_): False, str(old): False}
    assert host.run("prune", json.dumps([str(next_)])) == [str(old)]


def test_a_host_that_never_had_adapters_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stored_folders.main("show", str(tmp_path)) == 1
    assert capsys.readouterr().err == "error: this host has never had adapters; run provision\n"
