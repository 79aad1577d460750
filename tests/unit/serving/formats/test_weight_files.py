"""Which files of a repository are fetched: those that an engine reads, of the root, in one format."""

import pytest

from serving.formats.json_text import FormatError
from serving.formats.weight_files import missing_part, missing_shard, shards_of, wanted

ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]
MODEL = ["config.json", "tokenizer.json", "model.safetensors"]

REPOSITORIES: dict[str, tuple[list[str], list[str]]] = {
    "an adapter with its training": (
        [
            "README.md",
            *ADAPTER,
            "checkpoint-500/adapter_config.json",
            "checkpoint-500/adapter_model.safetensors",
            "checkpoint-500/optimizer.pt",
            "optimizer.pt",
            "rng_state.pth",
            "scheduler.pt",
            "trainer_state.json",
            "training_args.bin",
            ".gitattributes",
        ],
        ["README.md", *ADAPTER],
    ),
    "an adapter as .bin, with safetensors below": (
        ["adapter_config.json", "adapter_model.bin", "checkpoint-1/adapter_model.safetensors"],
        ["adapter_config.json", "adapter_model.bin"],
    ),
    "an adapter in both formats": ([*ADAPTER, "adapter_model.bin"], ADAPTER),
    "an adapter with the merged model": ([*ADAPTER, "model.safetensors"], ADAPTER),
    "a model for many programs": (
        [*MODEL, "pytorch_model.bin", "model.gguf", "onnx/model.onnx", "original/consolidated.00.pth", "tf_model.h5"],
        MODEL,
    ),
    "Mistral's own format": (
        [*MODEL, "consolidated.safetensors", "consolidated.00.pth", "params.json"],
        [*MODEL, "params.json"],
    ),
    "a model as .bin": (
        ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "training_args.bin"],
        ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
    ),
    "code of a model": (
        [*MODEL, "modeling_x.py", "layers/attention.py"],
        [*MODEL, "modeling_x.py", "layers/attention.py"],
    ),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_what_an_engine_reads_is_fetched_and_no_more(name: str) -> None:
    """Checkpoints in subfolders once were fetched, and their safetensors made that the root's .bin was left out."""
    has, fetched = REPOSITORIES[name]
    assert wanted(has) == fetched


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "names no weights"),
        (b'{"weight_map": {}}', "names no weights"),
        (b'{"weight_map": []}', "names no weights"),
        (b"[]", "names no weights"),
        (b'{"weight_map": {"a": 1}}', "has 1 as the file of a"),
        (b'{"weight_map": {"a": "../x"}}', "has ../x as the file of a"),
        (b'{"weight_map": {"a": "sub/x"}}', "has sub/x as the file of a"),
        (b"<html>", "is not JSON"),
    ],
)
def test_an_index_that_is_none_is_reported_in_one_line(content: bytes, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        shards_of(content)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["model-00001-of-00002.safetensors"], "model-00002-of-00002.safetensors"),
        (["model-00001-of-000163.safetensors"], "model-00002-of-000163.safetensors"),
        (["pytorch_model-00002-of-00003.bin", "pytorch_model-00003-of-00003.bin"], "pytorch_model-00001-of-00003.bin"),
        (["m-00001-of-00002.bin", "m-00002-of-00002.bin"], ""),
        (["m-00000-of-00002.bin", "m-00001-of-00002.bin"], ""),
        (["m-00000-of-00003.bin", "m-00001-of-00003.bin"], "m-00002-of-00003.bin"),
        (["model-00001-of-00002.safetensors", "model.safetensors"], ""),
        (["model-00001-of-00002.safetensors", "model-00001-of-00001.safetensors"], ""),
        (["model.safetensors"], ""),
        ([], ""),
    ],
)
def test_weights_that_count_themselves_are_counted(names: list[str], missing: str) -> None:
    """Without an index a missing file was met by the engine: "weights were not initialized"."""
    assert missing_part(names) == missing


def test_the_first_missing_shard_is_named() -> None:
    shards = shards_of(b'{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}')
    assert missing_shard(shards, ["model-1.safetensors"]) == "model-2.safetensors"
    assert missing_shard(shards, ["model-1.safetensors", "model-2.safetensors"]) == ""
