"""How each kind of source is resolved, and the errors."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from serving.sources.resolve import HubFetch, LocalFolder, resolve, resolve_sources
from serving.spec.fields import HubSource
from serving.spec.models import ServingSpec
from tools.tiny_model import make_tiny_model

REVISION = "0123456789abcdef0123456789abcdef01234567"
TINY = {"kind": "tiny", "name": "llama"}
TINY_ADAPTER = {"kind": "tiny", "name": "llama", "adapter": "b"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def spec(source: dict[str, Any], *adapter_sources: dict[str, Any], **model: Any) -> ServingSpec:
    adapters = [{"name": f"adapter-{index}", "source": each} for index, each in enumerate(adapter_sources)]
    return ServingSpec.model_validate({"model": {"name": "base", "source": source, **model}, "adapters": adapters})


def test_tiny_models_are_made_in_the_cache(tmp_path: Path) -> None:
    made = resolve_sources(spec(TINY, TINY_ADAPTER))
    tiny = make_tiny_model("llama")
    assert tiny.root.is_relative_to(tmp_path / "cache")
    assert made.model == LocalFolder(tiny.base)
    assert made.adapters == (LocalFolder(tiny.adapter("b")),)


def test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    base = Path(shutil.copytree(make_tiny_model("llama").base, tmp_path / "base"))
    assert resolve_sources(spec({"kind": "folder", "path": str(base)})).model == LocalFolder(base)


def listed(folder: Path) -> str:
    """Write the folder's SHA256SUMS as `sha256sum *` does, and return its checksum."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    text = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
    (folder / "SHA256SUMS").write_text(text)
    return sha256_of(folder / "SHA256SUMS")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_whose_files_are_those_of_its_pinned_list_is_taken(tmp_path: Path) -> None:
    base = Path(shutil.copytree(make_tiny_model("llama").base, tmp_path / "base"))
    (base / ".gitattributes").touch()
    source = {"kind": "folder", "path": str(base), "sha256": listed(base)}
    assert resolve_sources(spec(source)).model == LocalFolder(base)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda base: (base / "SHA256SUMS").unlink(), r"sha256: .* has no SHA256SUMS"),
        (
            lambda base: (base / "SHA256SUMS").write_text("0" * 64 + "  config.json\n"),
            r"sha256: .*SHA256SUMS has SHA-256",
        ),
        (
            lambda base: (base / "config.json").write_text("{}"),
            r"path: .*config\.json does not have the checksum in SHA256SUMS",
        ),
        (lambda base: (base / "config.json").unlink(), r"path: .* has no config\.json"),
        (lambda base: (base / "code").mkdir() or (base / "code" / "more.py").touch(), r"path: .* code/more\.py, which"),
    ],
    ids=["no list", "another list", "another file", "missing file", "more files"],
)
def test_a_folder_that_differs_from_its_pinned_list_is_refused(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    base = Path(shutil.copytree(make_tiny_model("llama").base, tmp_path / "base"))
    source = {"kind": "folder", "path": str(base), "sha256": listed(base)}
    change(base)
    with pytest.raises(ConfigError, match=rf"serving\.model\.source\.{words}"):
        resolve_sources(spec(source))


def test_a_pinned_file_that_is_not_a_list_is_refused(tmp_path: Path) -> None:
    base = Path(shutil.copytree(make_tiny_model("llama").base, tmp_path / "base"))
    (base / "SHA256SUMS").write_text("hello\n")
    source = {"kind": "folder", "path": str(base), "sha256": sha256_of(base / "SHA256SUMS")}
    with pytest.raises(ConfigError, match="is not a list of checksums; write it with sha256sum"):
        resolve_sources(spec(source))


def test_a_hub_source_is_fetched_by_the_host_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_sample")
    source = {"kind": "hub", "repo": "acme/base", "revision": REVISION, "token": {"env": "HF_TOKEN"}}
    model = resolve_sources(spec(source)).model
    assert isinstance(model, HubFetch)
    assert (model.repo, model.revision) == ("acme/base", REVISION)
    assert model.token is not None
    assert model.token.get_secret_value() == "hf_sample"
    assert "hf_sample" not in repr(model)


def test_a_missing_token_is_reported_before_any_host_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    source = {"kind": "hub", "repo": "acme/base", "revision": REVISION, "token": {"env": "HF_TOKEN"}}
    with pytest.raises(ConfigError, match="environment variable HF_TOKEN: is not set"):
        resolve_sources(spec(source))


def test_a_missing_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"serving\.model\.source\.path: there is no folder /no/such/folder"):
        resolve_sources(spec({"kind": "folder", "path": "/no/such/folder"}))


@pytest.mark.parametrize(
    ("missing", "words"),
    [("config.json", "has no config.json"), ("model.safetensors", "has no weights"), ("tokenizer", "has no tokenizer")],
)
def test_an_incomplete_model_folder_is_refused(tmp_path: Path, missing: str, words: str) -> None:
    base = Path(shutil.copytree(make_tiny_model("llama").base, tmp_path / "base"))
    for path in base.glob(f"{missing}*"):
        path.unlink()
    with pytest.raises(ConfigError, match=words):
        resolve_sources(spec({"kind": "folder", "path": str(base)}))


def test_a_local_adapter_is_checked_against_the_base(tmp_path: Path) -> None:
    other = Path(shutil.copytree(make_tiny_model("exaone").adapter("a"), tmp_path / "adapter"))
    with pytest.raises(ConfigError, match=r"serving\.adapters\[0\]: .* was trained on another base model"):
        resolve_sources(spec(TINY, {"kind": "folder", "path": str(other)}))


def test_a_mirror_gets_its_own_token_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_TOKEN", "of the mirror")
    mirror = {"url": "https://mirror.example.com/hub/", "token": {"env": "MIRROR_TOKEN"}}
    source = HubSource.model_validate({"kind": "hub", "repo": "acme/base", "revision": "0" * 40, "mirror": mirror})
    found = resolve(source, key="source")
    assert isinstance(found, HubFetch)
    assert found.conditions == ("--endpoint=https://mirror.example.com/hub",)
    assert found.environment["HF_TOKEN"].get_secret_value() == "of the mirror"
