"""The archive of Ollama: cached by recipe, reproducible, and only of a program that runs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from core.errors import DeployError
from tools.ollama import BUILT_VERSION, archive, build

SCRIPT = f"#!/bin/sh\necho Warning: client version is {BUILT_VERSION}\n"

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd packs the archive")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llm-deploy" / "ollama"


def building(monkeypatch: pytest.MonkeyPatch, script: str) -> list[Path]:
    """Replace the build with one that writes a script; return the built programs."""
    asked: list[Path] = []

    def build_script(program: Path, _headers: Path) -> None:
        asked.append(program)
        program.write_text(script)
        program.chmod(0o755)

    monkeypatch.setattr(archive, "build_ollama", build_script)
    return asked


def test_a_build_is_packed_and_cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = building(monkeypatch, SCRIPT)
    first = archive.built_archive()
    assert archive.built_archive() == first
    assert len(asked) == 1
    assert first.path.is_relative_to(cache)
    assert [each.name for each in first.folder.iterdir()] == ["ollama.tar.zst"]
    listed = subprocess.run(
        ["tar", "--zstd", "-tvf", str(first.path)], capture_output=True, text=True, check=True
    ).stdout
    assert listed.split()[0::5] == ["-rwxr-xr-x", "bin/ollama"]
    assert json.loads((first.folder.parent / "facts.json").read_text()) == {"sha256": first.sha256}


def test_the_same_program_gives_the_same_archive(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(SCRIPT)
    assert archive.pack(tmp_path / "one", tmp_path / "1.zst") == archive.pack(tmp_path / "two", tmp_path / "2.zst")


def test_a_program_of_another_version_is_discarded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    building(monkeypatch, "#!/bin/sh\necho client version is 0.0.0\n")
    with pytest.raises(DeployError, match=f"does not report version {BUILT_VERSION}"):
        archive.built_archive()
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_the_recipe_changes_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.recipe_hash()
    for name in ("go.mod", "go.sum"):
        shutil.copy(build.WRAPPER / name, tmp_path)
    monkeypatch.setattr(build, "WRAPPER", tmp_path)
    assert build.recipe_hash() == before
    with (tmp_path / "go.sum").open("a") as file:
        file.write("\n")
    assert build.recipe_hash() != before


def test_the_version_is_the_one_of_the_module() -> None:
    assert f"require {build.PACKAGE} v{BUILT_VERSION}\n" in (build.WRAPPER / "go.mod").read_text()
