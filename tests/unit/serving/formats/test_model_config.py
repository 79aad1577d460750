"""How long a text a model takes by its config.json, as vLLM 0.32.0 reads it."""

import json
from typing import Any

import pytest

from serving.formats.json_text import FormatError
from serving.formats.model_config import read_model_config


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({}, None),
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 8192, "max_seq_len": 2048}, 2048),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 2.0}}, 8192),
        ({"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "dynamic", "factor": 2}}, 8192),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 32768, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 32768),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"full": {"rope_type": "linear", "factor": 8}}}, 32768),
        ({"max_position_embeddings": 131072, "model_type": "gemma3", "rope_scaling": {"factor": 8.0}}, 131072),
        ({"text_config": {"max_position_embeddings": 40960}}, 40960),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({"max_position_embeddings": 4096, "time_step_limit": [0.0, float("inf")], "n": 10**40}, 4096),
    ],
)
def test_the_longest_text(config: dict[str, Any], tokens: int | None) -> None:
    assert read_model_config(json.dumps({"model_type": "llama", **config}).encode()).context_tokens == tokens


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"max_position_embeddings": "4096"}, "has 4096 as max_position_embeddings, not a number of tokens"),
        ({"max_position_embeddings": 1e300}, "has 1e+300 as max_position_embeddings"),
        ({"max_position_embeddings": -1}, "has -1 as max_position_embeddings"),
        ({}, "names neither architectures nor a model_type; get it again"),
        ({"architectures": [], "model_type": ""}, "names neither architectures nor a model_type"),
        ({"architectures": "Llama"}, "has Llama as architectures, not a list of names"),
        ({"architectures": [1]}, "has [1] as architectures"),
        ({"max_position_embeddings": 1, "rope_scaling": [1]}, "has [1] as rope_scaling"),
        ({"max_position_embeddings": 1, "rope_scaling": {"factor": "x"}}, "has x as the factor of rope_scaling"),
    ],
)
def test_odd_types_are_reported_in_one_line(config: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_model_config(json.dumps(config).encode())
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "content", "words"),
    [
        ("vllm", b'{"architectures": ["LlamaForCausalLM"]}', "names no model_type, which vLLM needs; get it again"),
        ("vllm", b'{"architectures": ["X"], "model_type": ["llama"]}', "has ['llama'] as model_type, not a name"),
        ("ollama", b'{"architectures": [], "model_type": "llama"}', "names no architectures, which Ollama needs"),
        ("ollama", b'{"architectures": ["X"], "a": Infinity}', "has Infinity, which is not JSON"),
        ("ollama", b'{"architectures": ["LlamaForCausalLM"]}', ""),
        ("vllm", b'{"architectures": [], "model_type": "llama", "a": Infinity}', ""),
        ("vllm", b'{"architectures": ["LongcatFlashForCausalLM"]}', ""),
        ("vllm", b'{"architectures": ["X"], "auto_map": {"AutoConfig": "a.B"}}', ""),
    ],
)
def test_each_engine_finds_the_class_by_its_own_key(engine: str, content: bytes, words: str) -> None:
    """A config without them went to the host, and the engine ended after gigabytes."""
    try:
        read_model_config(content, engine)
    except FormatError as error:
        assert words in str(error)  # noqa: PT017  # some pass
        assert words
    else:
        assert not words


def test_a_byte_order_mark_is_refused_as_engines_do() -> None:
    """It once was skipped here, and transformers ended the engine: "Unexpected UTF-8 BOM"."""
    with pytest.raises(FormatError, match="begins with a byte order mark, which no engine reads; save it as UTF-8"):
        read_model_config(b'\xef\xbb\xbf{"model_type": "llama"}')


def test_an_architecture_may_be_unknown() -> None:
    """vLLM 0.32.0 then takes the one of the model_type."""
    assert read_model_config(b'{"architectures": [], "model_type": "llama"}').architecture == ""
    assert read_model_config(b'{"auto_map": {"AutoConfig": "a.B"}}').architecture == ""
    assert read_model_config(b'{"architectures": ["LlamaForCausalLM"]}').architecture == "LlamaForCausalLM"
