"""What a model's folder must hold."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from serving.model_folder import check_model
from tools.tiny_model import make_tiny_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


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


def index(folder: Path, content: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pointer for weights": (
        lambda folder: (folder / "model.safetensors").write_text(POINTER),
        "/model.safetensors is a pointer of Git LFS, not the file; run `git lfs pull` in ",
    ),
    "a pointer for a tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text(POINTER),
        "/tokenizer.json is a pointer of Git LFS",
    ),
    "a pointer for the config": (
        lambda folder: (folder / "config.json").write_text(POINTER),
        "/config.json is a pointer of Git LFS",
    ),
    "a missing shard": (
        lambda folder: index(folder, {"weight_map": {"a": "model-00002-of-00002.safetensors"}}),
        " has no model-00002-of-00002.safetensors, which its model.safetensors.index.json names; get it again",
    ),
    "an index that names nothing": (
        lambda folder: index(folder, {"weight_map": {}}),
        "/model.safetensors.index.json names no weights",
    ),
    "cut-off weights": (
        lambda folder: os.truncate(folder / "model.safetensors", 5000),
        "/model.safetensors is not a whole safetensors file",
    ),
    "only what a training leaves": (
        lambda folder: (folder / "model.safetensors").rename(folder / "training_args.bin"),
        " has no weights",
    ),
    "a config that is HTML": (lambda folder: (folder / "config.json").write_text("<html>"), "/config.json is not JSON"),
    "a context that is too short": (lambda _: None, " allows 4096 tokens, fewer than the 4097 of model.context_"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_no_engine_could_serve_is_refused_with_the_file(folder: Path, name: str) -> None:
    """It once was accepted, went to the host, and the engine stumbled over it."""
    do_break, words = BROKEN[name]
    do_break(folder)
    with pytest.raises(ConfigError) as refused:
        check_model(folder, where="model.source.path", context_tokens=4097)
    assert words in str(refused.value)


def test_a_context_that_the_model_has_passes(folder: Path) -> None:
    check_model(folder, where="model", context_tokens=4096)


def test_weights_in_the_older_format_pass(folder: Path) -> None:
    """pytorch_model.bin; the engine has the last word."""
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    check_model(folder, where="model")
