"""Entries of the manifest, printed for files in a folder and for what a stack lists itself: taken as they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, UsageError
from provisioning.adapters.checks import check_releases
from provisioning.adapters.entry import entry, manifest
from provisioning.hosts.inventory import load, load_outputs
from provisioning.hosts.target import Target
from serving.adapters.manifest import read_releases
from tests.unit.provisioning.records import host_values, stack_values
from tools.tiny_model import make_tiny_model

LISTED: list[dict[str, Any]] = [
    {"name": "contract", "version": 3, "source": {"kind": "tiny", "name": "llama", "adapter": "a"}},
    {"name": "summary", "source": {"kind": "tiny", "name": "llama", "adapter": "b"}},
]


@pytest.fixture
def stack(tmp_path: Path) -> Target:
    """A stack whose own file lists no adapters."""
    return inventory(tmp_path)


def inventory(folder: Path, *adapters: dict[str, Any]) -> Target:
    """Write an inventory beside which a manifest may lie."""
    path, values = folder / "hosts.json", stack_values(host_values("one"))
    values["serving"] = {**values["serving"], "adapters": adapters}
    path.write_text(json.dumps(values))
    return Target(inventory=str(path))


def files(folder: Path, name: str, letter: str = "a") -> str:
    """Put the files of an adapter into a folder of that name."""
    shutil.copytree(make_tiny_model("llama").adapter(letter), folder / name)
    return str(folder / name)


def take_over(folder: Path, said: str) -> None:
    """Write the printed entry into the manifest, as a person does."""
    path = folder / "adapters" / "test.yaml"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as stream:
        stream.write(said)


def test_entries_for_folders_are_taken_as_they_are(
    stack: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("contract-4", "Contract_v5", "summary"):
        assert entry(stack, files(tmp_path, name)) == 0
        take_over(tmp_path, capsys.readouterr().out)
    entry(stack, files(tmp_path / "new", "contract-4", "b"))
    said = capsys.readouterr()
    assert "contract@4 is listed already: the entry has the next free version" in said.err
    take_over(tmp_path, said.out)
    releases = read_releases(tmp_path / "adapters" / "test.yaml")
    assert releases
    names = [each.versioned_name for each in releases.manifest.adapters]
    assert names == ["contract@4", "contract@5", "summary@1", "contract@6"]
    check_releases(releases, load(stack).serving)


def test_a_stacks_own_list_becomes_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = inventory(tmp_path, *LISTED)
    before = load_outputs(target).serving
    assert manifest(target) == 0
    take_over(tmp_path, capsys.readouterr().out)
    releases = read_releases(tmp_path / "adapters" / "test.yaml")
    assert releases
    after = load(inventory(tmp_path)).serving
    assert after.served_names == before.served_names
    assert [each.source for each in after.adapters] == [each.source for each in before.adapters]
    check_releases(releases, after)


def test_a_stack_without_adapters_of_its_own_has_no_such_manifest(stack: Target) -> None:
    with pytest.raises(UsageError, match="DO=entry ARGS=FOLDER"):
        manifest(stack)


def test_the_base_is_left_open_where_the_stack_was_not_made_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    entry(Target(stack="local"), files(tmp_path, "contract-4"))
    assert "    base:   # OWNER/NAME@COMMIT, or the model's name in the stack's file; " in capsys.readouterr().out


@pytest.mark.parametrize("lacks", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_of_something_else_are_refused(stack: Target, tmp_path: Path, lacks: str) -> None:
    folder = files(tmp_path, "contract-4")
    (Path(folder) / lacks).unlink()
    with pytest.raises(ConfigError, match=f"has no {lacks}"):
        entry(stack, folder)


def test_missing_folder_is_reported(stack: Target, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        entry(stack, str(tmp_path / "nowhere"))
