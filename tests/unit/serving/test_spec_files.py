"""The files that a spec names."""

import json
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from serving.spec import AdapterSpec, FolderSource, GatewaySpec, ModelSpec, ServingSpec, TlsFiles
from serving.spec_files import files_of_gateway, files_of_serving, full_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model and, below it, an adapter of rank 16."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 16}))
    return tmp_path


def _told(folder: Path, rank: int = 16) -> list[str]:
    spec = ServingSpec(
        model=ModelSpec(name="base", source=FolderSource(kind="folder", path=folder)),
        adapters=(AdapterSpec(name="a", source=FolderSource(kind="folder", path=folder / "adapter"), rank=rank),),
    )
    return [f"{problem.key}: {problem.what}; {problem.hint}" for problem in files_of_serving(spec)]


def test_whole_folders_pass(folder: Path) -> None:
    """Model and adapter are there, and the rank is the adapter's."""
    assert _told(folder) == []


def test_a_rank_that_the_adapter_does_not_have_is_told(folder: Path) -> None:
    """vLLM would fail on it minutes later, or load half of it."""
    assert _told(folder, rank=8) == ["adapters[0].rank: 8 is not the 16 of its adapter_config.json; write 16"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"r": "16"}'])
def test_an_adapter_that_names_no_rank_is_told(folder: Path, content: str) -> None:
    """Broken JSON, or none of an adapter."""
    (folder / "adapter" / "adapter_config.json").write_text(content)
    assert _told(folder) == ["adapters[0].source.path: its adapter_config.json names no rank; export the adapter again"]


def test_missing_folders_are_all_told(folder: Path) -> None:
    """Each with its key."""
    (folder / "config.json").unlink()
    (folder / "adapter" / "adapter_config.json").unlink()
    assert [line.partition(":")[0] for line in _told(folder)] == ["model.source.path", "adapters[0].source.path"]


def test_relative_paths_start_at_the_checkout_and_home_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is run from."""
    monkeypatch.setenv("HOME", "/home/someone")
    assert full_path(Path("models/m")) == CHECKOUT / "models/m"
    assert full_path(Path("~/m")) == Path("/home/someone/m")


def test_a_readable_key_and_a_missing_ca_are_told(tmp_path: Path) -> None:
    """The certificate may be read by all, its key by its owner only."""
    for name, mode in (("cert.pem", 0o644), ("key.pem", 0o640)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    tls = TlsFiles(kind="files", certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem", ca=tmp_path / "ca.pem")
    assert [(problem.key, problem.what) for problem in files_of_gateway(GatewaySpec(tls=tls))] == [
        ("tls.key", f"others on this computer can read {tmp_path}/key.pem"),
        ("tls.ca", f"there is no file {tmp_path}/ca.pem"),
    ]
