"""What a model's folder must hold."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from serving.model_folder import check_model
from tools.tiny_model import make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model."""
    return make_tiny_model("llama", tmp_path).base


def test_a_whole_model_passes(folder: Path) -> None:
    """As a hub repository has it."""
    check_model(folder, where="model")


@pytest.mark.parametrize(
    ("pattern", "what"),
    [("config.json", "has no config.json"), ("*.safetensors", "has no weights"), ("tokenizer*", "has no tokenizer")],
)
def test_a_missing_part_is_told(folder: Path, pattern: str, what: str) -> None:
    """Before it travels to a host and an engine stumbles over it."""
    for path in folder.glob(pattern):
        path.unlink()
    with pytest.raises(ConfigError) as refused:
        check_model(folder, where="model.source.path")
    assert str(refused.value).startswith(f"model.source.path: {folder} {what}; ")


def test_weights_in_the_older_format_pass(folder: Path) -> None:
    """pytorch_model.bin; the engine has the last word."""
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    check_model(folder, where="model")
