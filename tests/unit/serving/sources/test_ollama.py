"""Sources of Ollama's program and models, and the served names."""

from pathlib import Path
from typing import Any

import pytest

from catalog.ollama_releases import PINNED, SAFE_FROM, version_numbers
from core.errors import ConfigError
from serving.sources.ollama import Archive, RegistryFetch, gguf_folder, release_archive
from serving.sources.resolve import resolve_sources
from serving.spec.models import ServingSpec
from serving.spec.ollama import ArchiveRelease, BuiltRelease, GgufSource, PinnedRelease
from tools.ollama import BUILT_VERSION, BuiltArchive

SHA256 = "a" * 64


def spec(**changed: Any) -> ServingSpec:
    model = {"name": "base", "source": {"kind": "tiny", "name": "llama"}}
    return ServingSpec.model_validate({"engine": "ollama", "model": model, **changed})


@pytest.mark.parametrize("version", [*PINNED, BUILT_VERSION])
def test_no_pinned_release_is_older_than_the_oldest_safe_one(version: str) -> None:
    assert version_numbers(version) >= SAFE_FROM


def test_the_default_release_is_one_that_the_table_has() -> None:
    assert release_archive(PinnedRelease()) == Archive(
        "0.32.7",
        PINNED["0.32.7"],
        url="https://github.com/ollama/ollama/releases/download/v0.32.7/ollama-linux-amd64.tar.zst",
    )


def test_another_release_is_used_as_written() -> None:
    mirror = "https://mirror.example.com/ollama.tgz"
    named = ArchiveRelease(kind="archive", version="0.24.0", url=mirror, sha256=SHA256)
    assert release_archive(named) == Archive("0.24.0", SHA256, url=mirror)


def test_a_release_of_kind_build_is_built_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.ollama.built_archive", lambda: BuiltArchive(Path("/cache"), "0.24.0", SHA256))
    assert release_archive(BuiltRelease(kind="build")) == Archive(
        "0.24.0", SHA256, folder=Path("/cache"), name="ollama.tar.zst"
    )


@pytest.mark.parametrize(("name", "fetched"), [("a:1b", "library/a:1b"), ("acme/a:1b", "acme/a:1b")])
def test_a_model_of_a_registry_is_fetched_by_the_host(name: str, fetched: str) -> None:
    source = {"kind": "ollama", "name": name, "digest": SHA256}
    found = resolve_sources(spec(model={"name": "base", "source": source})).model
    assert found == RegistryFetch("https://registry.ollama.ai", fetched, SHA256)
    assert found.fetch_arguments == (f"ollama+https://registry.ollama.ai/{fetched}", SHA256)


def test_a_gguf_travels_alone_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for content, name in (("first", "one.gguf"), ("second", "two.gguf")):
        (tmp_path / name).write_text(content)
        source = GgufSource(kind="gguf", path=tmp_path / name, sha256=SHA256)
        folder = gguf_folder(source, key="serving.model.source")
        assert [(each.name, each.read_text()) for each in folder.iterdir()] == [("model.gguf", content)]


def test_a_missing_gguf_is_reported() -> None:
    source = GgufSource(kind="gguf", path=Path("no/such.gguf"), sha256=SHA256)
    with pytest.raises(ConfigError, match=r"serving\.model\.source\.path: there is no file no/such\.gguf"):
        gguf_folder(source, key="serving.model.source")


def test_names_are_served_with_ollamas_tags() -> None:
    tiny = {"kind": "tiny", "name": "llama", "adapter": "a"}
    versions = [{"name": "contract", "version": each, "source": tiny, "promoted": each == 3} for each in (2, 3)]
    assert spec(adapters=versions).served_names == ("base:latest", "contract:latest", "contract:2", "contract:3")
