"""The folders of a model's files on a host."""

from pathlib import Path

import pytest

from provisioning.roles.engine.store import model_path
from serving.sources.resolve import LocalFolder
from tests.unit.provisioning.records import host, stack


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of a model in a local folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "base" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"trained")
    return path


def test_other_weights_under_one_name_never_go_into_the_served_folder(weights: Path) -> None:
    """They replaced it file by file: after an interruption, the engine's next start mixed two models."""

    def path() -> str:
        return model_path(host(), stack().serving, LocalFolder(weights.parent))

    before = path()
    assert before.startswith("/var/lib/llm/models/tiny@")
    assert path() == before
    weights.write_bytes(b"trained again")
    assert path() != before
    weights.write_bytes(b"trained")
    assert path() == before
