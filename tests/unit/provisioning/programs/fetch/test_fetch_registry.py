"""Models of a registry are fetched completely, by digest, even if the connection breaks."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioning.programs.fetch.llm_fetch.main import main
from tests.doubles.ollama_registry import RegistryDouble, running_registry

MODEL = "application/vnd.ollama.image.model"
CONFIG = "application/vnd.docker.container.image.v1+json"
WEIGHTS = bytes(range(256)) * 1000

Fetch = Callable[..., int]


@pytest.fixture
def registry() -> Iterator[RegistryDouble]:
    with running_registry("127.0.0.1") as double:
        yield double


@pytest.fixture
def fetch(registry: RegistryDouble, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    monkeypatch.setattr("time.sleep", lambda _: None)

    def run(digest: str, folder: Path, *rest: str) -> int:
        status: int = main(f"ollama+{registry.url}/library/tiny:1b", digest, str(folder), *rest)
        return status

    return run


def published(registry: RegistryDouble) -> str:
    return registry.add_model("library/tiny:1b", {CONFIG: b"{}", MODEL: WEIGHTS})


def blob_name(content: bytes) -> str:
    return f"sha256-{hashlib.sha256(content).hexdigest()}"


def test_a_model_is_fetched_completely_under_ollamas_names(
    registry: RegistryDouble, fetch: Fetch, tmp_path: Path
) -> None:
    digest = published(registry)
    assert fetch(digest, tmp_path / "model") == 0
    assert (tmp_path / "model" / blob_name(WEIGHTS)).read_bytes() == WEIGHTS
    assert hashlib.sha256((tmp_path / "model" / "manifest.json").read_bytes()).hexdigest() == digest
    assert fetch(digest, tmp_path / "model", "--check") == 0
    assert fetch("0" * 64, tmp_path / "model", "--check") == 1


def test_an_interrupted_blob_resumes_where_it_stopped(registry: RegistryDouble, fetch: Fetch, tmp_path: Path) -> None:
    digest = published(registry)
    path = f"/v2/library/tiny/blobs/{blob_name(WEIGHTS).replace('-', ':')}"
    registry.cut_after[path] = 100_000
    assert fetch(digest, tmp_path) == 0
    assert registry.ranges(path) == ["", "bytes=100000-"]
    assert (tmp_path / blob_name(WEIGHTS)).read_bytes() == WEIGHTS


@pytest.mark.parametrize("part", [100_000, len(WEIGHTS)], ids=["a part", "all of it"])
def test_files_of_an_earlier_run_are_used(registry: RegistryDouble, fetch: Fetch, tmp_path: Path, part: int) -> None:
    digest = published(registry)
    (tmp_path / f"{blob_name(WEIGHTS)}.part").write_bytes(WEIGHTS[:part])
    assert fetch(digest, tmp_path) == 0
    assert (tmp_path / blob_name(WEIGHTS)).read_bytes() == WEIGHTS


def test_a_tag_that_has_moved_is_refused(
    registry: RegistryDouble, fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = published(registry)
    registry.add_model("library/tiny:1b", {CONFIG: b"{}", MODEL: b"other weights"})
    assert fetch(digest, tmp_path) == 1
    assert f"not {digest}, which the stack file pins: the tag has moved" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_blob_with_other_content_is_never_kept(
    registry: RegistryDouble, fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = published(registry)
    registry.files[f"/v2/library/tiny/blobs/{blob_name(WEIGHTS).replace('-', ':')}"] = bytes(len(WEIGHTS))
    assert fetch(digest, tmp_path) == 1
    assert "could not be fetched: its checksum is not the one that the manifest gives" in capsys.readouterr().err
    assert not (tmp_path / blob_name(WEIGHTS)).exists()
    assert fetch(digest, tmp_path, "--check") == 1


def test_a_missing_model_is_reported(fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("0" * 64, tmp_path) == 1
    assert capsys.readouterr().err.strip().endswith("has no library/tiny:1b; look up name and tag there")


def test_a_manifest_that_leads_out_of_the_folder_is_refused(
    registry: RegistryDouble, fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.files["/v2/library/tiny/manifests/1b"] = content = (
        b'{"config": {"digest": "sha256:../../etc/passwd", "size": 1}, "layers": []}'
    )
    assert fetch(hashlib.sha256(content).hexdigest(), tmp_path) == 1
    assert "which is not a SHA-256" in capsys.readouterr().err
