"""What a model's folder must contain."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from serving.sources.model_folder import check_model
from tools.tiny_model import make_tiny_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete model."""
    return make_tiny_model("llama", tmp_path).base


def test_a_whole_model_passes(folder: Path) -> None:
    """As in a hub repository."""
    check_model(folder, where="model")


@pytest.mark.parametrize(
    ("pattern", "what"),
    [("config.json", "has no config.json"), ("*.safetensors", "has no weights"), ("tokenizer*", "has no tokenizer")],
)
def test_a_missing_part_is_reported(folder: Path, pattern: str, what: str) -> None:
    """Before it is sent to a host and an engine fails on it."""
    for path in folder.glob(pattern):
        path.unlink()
    with pytest.raises(ConfigError) as refused:
        check_model(folder, where="model.source.path")
    assert str(refused.value).startswith(f"model.source.path: {folder} {what}; ")


def change(folder: Path, name: str, **keys: object) -> int:
    return (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **keys}))


def index(folder: Path, content: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pointer for weights": (
        lambda folder: (folder / "model.safetensors").write_text(POINTER),
        "/model.safetensors is a Git LFS pointer, not the file; run `git lfs pull` in ",
    ),
    "a pointer for a tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text(POINTER),
        "/tokenizer.json is a Git LFS pointer",
    ),
    "a pointer for the config": (
        lambda folder: (folder / "config.json").write_text(POINTER),
        "/config.json is a Git LFS pointer",
    ),
    "a missing shard": (
        lambda folder: index(folder, {"weight_map": {"a": "model-00002-of-00002.safetensors"}}),
        " has no model-00002-of-00002.safetensors, which its model.safetensors.index.json lists; get it again",
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
    "a missing part, and no index": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors"),
        " has no model-00002-of-00002.safetensors, which the names of its other weights imply; get it again",
    ),
    "a shard outside the folder": (
        lambda folder: index(folder, {"weight_map": {"a": "../model.safetensors"}}),
        "/model.safetensors.index.json has ../model.safetensors as the file of a; get it again",
    ),
    "a shard by its whole path": (
        lambda folder: index(folder, {"weight_map": {"a": "/model.safetensors"}}),
        "/model.safetensors.index.json has /model.safetensors as the file of a; get it again",
    ),
    "sampling settings that are cut off": (
        lambda folder: (folder / "generation_config.json").write_text('{"temperature": 0.'),
        "/generation_config.json is not JSON; get it again",
    ),
    "sampling settings that are a list": (
        lambda folder: (folder / "generation_config.json").write_text("[]"),
        "/generation_config.json is not a JSON object; get it again",
    ),
    "a tokenizer that is a proxy's page": (
        lambda folder: (folder / "tokenizer.json").write_text("\n<!DOCTYPE HTML><html>Sign in"),
        "/tokenizer.json is a web page, not the file; a proxy may have answered; get it again",
    ),
    "a tokenizer that is cut off": (
        lambda folder: os.truncate(folder / "tokenizer.json", 100),
        "/tokenizer.json is not JSON; get it again",
    ),
    "a tokenizer in UTF-16": (
        lambda folder: (folder / "tokenizer.json").write_text("{}", encoding="utf-16"),
        "/tokenizer.json is not UTF-8 text; get it again",
    ),
    "a tokenizer's settings that are null": (
        lambda folder: (folder / "tokenizer_config.json").write_text("null"),
        "/tokenizer_config.json is not a JSON object; get it again",
    ),
    "a tokenizer's settings with a byte order mark": (
        lambda folder: (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8-sig"),
        "/tokenizer_config.json begins with a byte order mark, which no engine reads; save it as UTF-8 without one",
    ),
    "special tokens that are a page": (
        lambda folder: (folder / "special_tokens_map.json").write_text("<html>"),
        "/special_tokens_map.json is a web page",
    ),
    "a pointer for added tokens": (
        lambda folder: (folder / "added_tokens.json").write_text(POINTER),
        "/added_tokens.json is a Git LFS pointer, not the file; run `git lfs pull` in ",
    ),
    "a pointer for a chat template": (
        lambda folder: (folder / "chat_template.jinja").write_text(POINTER),
        "/chat_template.jinja is a Git LFS pointer",
    ),
    "a chat template that is a page": (
        lambda folder: (folder / "chat_template.jinja").write_text("<!doctype html>"),
        "/chat_template.jinja is a web page",
    ),
    "a chat template that is not text": (
        lambda folder: (folder / "chat_template.jinja").write_bytes(b"\xff\xfe"),
        "/chat_template.jinja is not UTF-8 text; get it again",
    ),
    "pictures without their processor": (
        lambda folder: (
            change(folder, "config.json", vision_config={}),
            (folder / "preprocessor_config.json").write_text("<html>"),
        ),
        "/preprocessor_config.json is a web page",
    ),
    "no kind of model": (
        lambda folder: change(folder, "config.json", architectures=[], model_type=None),
        "/config.json names neither architectures nor a model_type; get it again",
    ),
    "a config that is HTML": (lambda folder: (folder / "config.json").write_text("<html>"), "/config.json is not JSON"),
    "a context that is too short": (lambda _: None, " allows 4096 tokens, fewer than the 4097 of model.context_"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_no_engine_could_serve_is_refused_with_the_file(folder: Path, name: str) -> None:
    """It was once accepted and sent to the host, and the engine failed on it."""
    do_break, words = BROKEN[name]
    do_break(folder)
    with pytest.raises(ConfigError) as refused:
        check_model(folder, where="model.source.path", context_tokens=4097)
    assert words in str(refused.value)


def test_a_context_that_the_model_has_passes(folder: Path) -> None:
    check_model(folder, where="model", context_tokens=4096)


UNREAD: dict[str, Callable[[Path], object]] = {
    "a count of bytes in the index, which engines do not read": lambda folder: index(
        folder, {"metadata": {"total_size": 1}, "weight_map": {"a": "model.safetensors"}}
    ),
    "a processor of a model without pictures": lambda folder: (folder / "processor_config.json").write_text("<html>"),
    "special tokens of a newer tokenizer": lambda folder: (
        change(folder, "tokenizer_config.json", added_tokens_decoder={}, model_max_length=10**30),
        (folder / "special_tokens_map.json").write_text("[]"),
    ),
    "no architecture of a known kind": lambda folder: change(folder, "config.json", architectures=[]),
    "a key twice": lambda folder: (folder / "generation_config.json").write_text('{"top_k": 1, "top_k": 2}'),
    "an endless number": lambda folder: change(folder, "config.json", time_step_limit=[0.0, float("inf")]),
    "a page as a template's text": lambda folder: (folder / "chat_template.jinja").write_text("{{ '<html>' }}"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_fault_that_no_engine_minds_passes(folder: Path, name: str) -> None:
    """Tried with vLLM 0.32.0 and transformers 5.19."""
    UNREAD[name](folder)
    check_model(folder, where="model")


def test_weights_in_the_older_format_pass(folder: Path) -> None:
    """pytorch_model.bin. The engine decides."""
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    check_model(folder, where="model")
