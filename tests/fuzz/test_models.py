"""Files of models and adapters from other people: config.json, adapter_config.json, headers of weights."""

import io
import re
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import ConfigError
from provisioning.programs.fetch.llm_fetch.adapter import check_adapter as check_on_host
from provisioning.programs.fetch.llm_fetch.errors import FetchError
from provisioning.programs.fetch.llm_fetch.tensors import Folder
from serving.adapters.checks import check_adapter, read_adapter_config
from serving.formats.json_text import FormatError
from serving.formats.model_settings import check_settings
from serving.formats.weight_heads import read_head
from serving.sources.model_folder import check_model
from serving.spec.fields import AdapterSpec
from tests.fuzz.inputs import ANY_BYTES, ODD, as_json, changed
from tests.fuzz.judged import judged

ADAPTER: dict[str, Any] = {
    "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none",
    "base_model_name_or_path": "a/b", "modules_to_save": None, "rank_pattern": {"k_proj": 4}, "alpha_pattern": {},
    "use_dora": False, "use_rslora": False, "init_lora_weights": True, "layers_to_transform": None,
    "fan_in_fan_out": False, "task_type": "CAUSAL_LM",
}  # fmt: skip
MODEL: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096, "model_type": "llama", "hidden_size": 64,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0}, "text_config": {"max_position_embeddings": 8192},
}  # fmt: skip
HEAD: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": {
        "dtype": "F32", "shape": [8, 64], "data_offsets": [0, 2048],
    },
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": {
        "dtype": "F32", "shape": [64, 8], "data_offsets": [2048, 4096],
    },
}  # fmt: skip
TOKENIZER: dict[str, Any] = {
    "added_tokens_decoder": {"0": {"content": "<s>", "special": True}}, "chat_template": "{{ messages }}",
    "model_max_length": 4096, "eos_token": "</s>", "temperature": 0.6,
}  # fmt: skip
SETTINGS = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
SPEC = AdapterSpec.model_validate(
    {"name": "a", "source": {"kind": "hub", "repo": "a/b", "revision": "0" * 40}, "rank": 8}
)
LIMITS = {"rank": "8", "max-rank": "16", "target-modules": "q_proj", "base": "a/b"}


def weights(head: bytes, body: int = 4096) -> bytes:
    return struct.pack("<Q", len(head)) + head + bytes(body)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter's folder with weights that fit."""
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "adapter_model.safetensors").write_bytes(weights(as_json(HEAD)))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder that lacks its config."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.safetensors").write_bytes(
        weights(as_json({"a.weight": HEAD[next(iter(HEAD.keys() - {"__metadata__"}))]}))
    )
    (folder / "tokenizer.json").write_text("{}")
    return folder


def in_our_words(read: Any) -> Any:
    """Return the result of `read`; errors of host programs become ours."""
    try:
        return read()
    except (FetchError, FormatError) as error:
        raise ConfigError(re.sub(r"^\S+/", "", str(error))) from None


@given(content=st.one_of(ANY_BYTES, ODD.map(as_json), changed(ADAPTER).map(as_json)))
@example(content=b"[" * 100_000)
@example(content=b'{"peft_type": "LORA", "r": ' + b"9" * 5000 + b"}")
def test_configs_of_adapters(adapter: Path, content: bytes) -> None:
    (adapter / "adapter_config.json").write_bytes(content)
    for engine in ("vllm", "ollama"):
        judged(partial(read_adapter_config, adapter, where="adapters[0]", engine=engine))
    judged(lambda: check_adapter(SPEC, adapter, base=None, base_repo="a/b", max_rank=16, where="adapters[0]"))
    judged(lambda: in_our_words(lambda: check_on_host(Folder(adapter), LIMITS)))


@given(content=st.one_of(ANY_BYTES, ODD.map(as_json), changed(MODEL).map(as_json)))
@example(content=b"[" * 100_000)
@example(content=b'{"max_position_embeddings": 1e999}')
def test_configs_of_models(model: Path, content: bytes) -> None:
    (model / "config.json").write_bytes(content)
    judged(lambda: check_model(model, where="model.source", context_tokens=4096))


@given(content=st.one_of(ANY_BYTES, ODD.map(as_json), changed(TOKENIZER).map(as_json)))
@example(content=b"[" * 100_000)
@example(content=b'{"model_max_length": 1000000000000000019884624838656}')
def test_settings_of_models(content: bytes) -> None:
    judged(
        lambda: in_our_words(
            lambda: check_settings(SETTINGS, lambda _name, _limit, read: read(content), has_processor=True)
        )
    )


@given(content=st.one_of(ANY_BYTES, changed(HEAD).map(as_json).map(weights), ODD.map(as_json).map(weights)))
@example(content=weights(b"[" * 100_000))
@example(content=b"\xff" * 8)
def test_heads_of_weights(content: bytes) -> None:
    judged(lambda: in_our_words(lambda: read_head(io.BytesIO(content), len(content))))
