"""Which adapter_config.json each engine's release can load: nothing passes that is not known to."""

import json
from typing import Any

import pytest

from serving.formats.json_text import FormatError
from serving.formats.lora_config import other_base, read_lora_config

PEFT: dict[str, Any] = {
    "alora_invocation_tokens": None, "alpha_pattern": {}, "arrow_config": None, "auto_mapping": None,
    "base_model_name_or_path": "acme/base", "bias": "none", "corda_config": None, "ensure_weight_tying": False,
    "eva_config": None, "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True,
    "init_lora_weights": True, "kasa_config": None, "layer_replication": None, "layers_pattern": None,
    "layers_to_transform": None, "loftq_config": {}, "lora_alpha": 16, "lora_bias": False, "lora_dropout": 0.05,
    "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None, "peft_type": "LORA",
    "peft_version": "0.21.2", "qalora_group_size": 16, "r": 8, "rank_pattern": {}, "revision": None,
    "target_modules": ["q_proj", "v_proj"], "target_parameters": None, "task_type": "CAUSAL_LM",
    "trainable_token_indices": None, "use_bdlora": None, "use_dora": False, "use_qalora": False, "use_rslora": False,
}  # fmt: skip
"""As peft 0.21.2 writes it."""


def written(**changed: Any) -> bytes:
    return json.dumps({**PEFT, **changed}).encode()


LOADED: dict[str, dict[str, Any]] = {
    "peft's own": {},
    "another start": {"init_lora_weights": "gaussian"},
    "a start by data": {"init_lora_weights": "EVA", "eva_config": {"rho": 2.0}},
    "no start": {"init_lora_weights": False},
    "a scale that is not whole": {"lora_alpha": 11.3},
    "rsLoRA": {"use_rslora": True},
    "ranks by module": {"rank_pattern": {"q_proj": 4, r"^model\.layers\.\d+\.mlp.*": 16}},
    "all linear modules": {"target_modules": "all-linear"},
    "some layers": {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
    "keys of a later peft, not used": {"use_wonder": False, "wonder_config": None, "wonder_list": []},
    "unsloth": {"unsloth_fixed": True},
}


@pytest.mark.parametrize("name", LOADED)
def test_what_vllm_loads_passes(name: str) -> None:
    assert read_lora_config(written(**LOADED[name]), "vllm").r == 8


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "PiSSA": ({"init_lora_weights": "pissa"}, "init_lora_weights: pissa, which changes the base model's weights; conv"),
    "PiSSA in some steps": ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights: pissa_niter_16"),
    "OLoRA": ({"init_lora_weights": "olora"}, "init_lora_weights: olora"),
    "CorDA": ({"init_lora_weights": "corda"}, "init_lora_weights: corda"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "init_lora_weights: loftq"),
    "a start of a later peft": ({"init_lora_weights": "wonder"}, "init_lora_weights: wonder"),
    "a start of another type": ({"init_lora_weights": {"a": 1}}, "init_lora_weights: {'a': 1}"),
    "DoRA": ({"use_dora": True}, "holds more than LoRA matrices (DoRA)"),
    "bias of LoRA": ({"lora_bias": True}, "holds more than LoRA matrices (lora_bias)"),
    "bias": ({"bias": "lora_only"}, "holds more than LoRA matrices (bias lora_only)"),
    "no word about biases": ({"bias": None}, 'holds more than LoRA matrices (bias None); write "bias": "none"'),
    "whole modules": ({"modules_to_save": ["embed_tokens", "lm_head"]}, "LoRA matrices (embed_tokens, lm_head)"),
    "a head for classes": ({"modules_to_save": ["score"]}, "holds more than LoRA matrices (score)"),
    "tokens": ({"trainable_token_indices": [1, 2]}, "holds more than LoRA matrices (trainable_token_indices)"),
    "parameters": ({"target_parameters": ["experts.down_proj"]}, "holds more than LoRA matrices (target_parameters)"),
    "layers twice": ({"layer_replication": [[0, 2], [1, 3]]}, "holds more than LoRA matrices (layer_replication)"),
    "aLoRA": ({"alora_invocation_tokens": [1]}, "holds more than LoRA matrices (aLoRA)"),
    "blocks": ({"use_bdlora": {"nblocks": 2}}, "holds more than LoRA matrices (BD-LoRA)"),
    "QALoRA": ({"use_qalora": True}, "holds more than LoRA matrices (QALoRA)"),
    "Conv1D": ({"fan_in_fan_out": True}, "holds more than LoRA matrices (fan_in_fan_out)"),
    "keys of a later peft, used": ({"use_wonder": True}, "sets use_wonder, which no engine here knows"),
    "a number of a later peft": ({"wonder": 3}, "sets wonder, which no engine here knows"),
    "another kind": ({"peft_type": "IA3"}, "is not of a LoRA adapter (IA3)"),
    "AdaLoRA": ({"peft_type": "ADALORA"}, "is not of a LoRA adapter (ADALORA)"),
    "no kind": ({"peft_type": None}, "is not of a LoRA adapter (None)"),
    "a list as kind": ({"peft_type": ["LORA"]}, "is not of a LoRA adapter (['LORA'])"),
    "no rank": ({"r": None}, "r is None"),
    "rank 0": ({"r": 0}, "r is 0"),
    "a rank that is text": ({"r": "8"}, "r is 8"),
    "a rank that is true": ({"r": True}, "r is True"),
    "a rank of 5,000 digits": ({"r": 0}, "r is 0"),
    "no scale": ({"lora_alpha": None}, "has None as lora_alpha"),
    "a scale that is text": ({"lora_alpha": "16"}, "has 16 as lora_alpha"),
    "ranks that are a list": ({"rank_pattern": [1]}, "has a rank_pattern that is not an object"),
    "a rank of a module that is text": ({"rank_pattern": {"q_proj": "8"}}, "has q_proj: 8 in its rank_pattern"),
    "a pattern that takes for ever": ({"rank_pattern": {"(a+)+": 8}}, "has (a+)+: 8 in its rank_pattern"),
    "digits that take for ever": ({"rank_pattern": {r"\d+" * 20 + "x": 8}}, "...: 8 in its rank_pattern"),
    "a pattern that ends the group": ({"rank_pattern": {"a)(b": 8}}, "has a)(b: 8 in its rank_pattern"),
    "a pattern with a flag": ({"rank_pattern": {"(?i)q": 8}}, "has (?i)q: 8 in its rank_pattern"),
    "a pattern that is none": ({"rank_pattern": {"(": 8}}, "has (: 8 in its rank_pattern"),
    "a scale of a module that is a list": ({"alpha_pattern": {"q_proj": [1]}}, "has q_proj: [1] in its alpha_pattern"),
    "modules that are a number": ({"target_modules": 3}, "has 3 as target_modules"),
    "modules that are numbers": ({"target_modules": [3]}, "has [3] as target_modules"),
    "a name that moves the cursor": ({"modules_to_save": ["\x1b[2J"]}, "('\\x1b[2J')"),
    "a key that moves the cursor": ({"\x1b[2J": 1}, "has the name '\\x1b[2J', with control characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_vllm_refuses_or_computes_otherwise_is_refused(name: str) -> None:
    """PiSSA and whole embeddings once passed, and the engine that was to load them ended when it started."""
    changed, words = REFUSED[name]
    with pytest.raises(FormatError) as caught:
        read_lora_config(written(**changed), "vllm")
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


NOT_JSON: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not JSON"),
    "HTML": (b"<html>", "is not JSON"),
    "a list": (b"[]", "is not a JSON object"),
    "not a number": (b'{"r": NaN}', "has NaN, which is not JSON"),
    "UTF-16": ('{"r": 8}'.encode("utf-16"), "is not UTF-8 text"),
    "a byte order mark": (b'\xef\xbb\xbf{"r": 8}', "begins with a byte order mark, which no engine reads"),
    "Latin-1": (b'{"r": "\xe9"}', "is not UTF-8 text"),
    "deep lists": (b"[" * 100_000, "is nested too deeply"),
    "deep objects": (b'{"a":' * 500 + b"1" + b"}" * 500, "is nested too deeply"),
    "5,000 digits": (b'{"r": ' + b"9" * 5000 + b"}", "has a number of 5000 digits"),
    "5 MiB": (b'{"r": 8}' + b" " * (5 << 20), "has more than 4 MiB"),
    "an exponent beyond all bounds": (b'{"peft_type": "LORA", "r": 8, "lora_alpha": 1e999}', "has inf as lora_alpha"),
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_a_config_that_is_none_is_reported_in_one_line(name: str) -> None:
    """Deep nesting and numbers of 5,000 digits once were a traceback."""
    content, words = NOT_JSON[name]
    with pytest.raises(FormatError) as caught:
        read_lora_config(content, "vllm")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"use_rslora": True}, "uses use_rslora, which Ollama does not read"),
        ({"alpha_pattern": {"q_proj": 4}}, "uses alpha_pattern, which Ollama does not read"),
        ({"lora_alpha": 11.3}, "has lora_alpha 11.3: Ollama reads whole numbers"),
    ],
)
def test_what_ollama_would_drop_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_lora_config(written(**changed), "ollama")
    assert words in str(caught.value)


def test_the_rank_of_a_module_is_chosen_as_peft_chooses_it() -> None:
    config = read_lora_config(written(rank_pattern={"q_proj": 4, "layers.1.*": 32}), "vllm")
    names = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj", "model.layers.0.xq_proj", "q_proj")
    assert [config.rank_of(name) for name in names] == [4, 32, 8, 4]
    assert config.rank == 32


LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize(
    ("trained_on", "stated", "other"),
    [
        (LLAMA, "", False),
        (LLAMA.lower(), "", False),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "", False),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "", False),
        ("unsloth/llama-3.1-8b-instruct-unsloth-bnb-4bit", "", False),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "", False),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "", False),
        ("/home/me/.cache/huggingface/hub/models--meta-llama--Llama-3.1-8B-Instruct/snapshots/0e9e/", "", False),
        ("/home/me/base", "", False),
        ("./base", "", False),
        ("C:\\models\\base", "", False),
        ("llama", "", False),
        ("", "", False),
        (f"{LLAMA}@main", "", False),
        ("meta-llama/Llama-3.1-8B", "", True),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "", True),
        ("meta-llama/Llama-3.1-70B-Instruct", "", True),
        ("mistralai/Mistral-7B-Instruct-v0.3", "", True),
        ("acme/my-llama", "", True),
        ("/cache/models--mistralai--Mistral-7B-v0.3/snapshots/1", "", True),
        ("acme/my-llama", "acme/my-llama", False),
        ("outputs/merged", "outputs/merged", False),
        ("acme/my-llama", LLAMA, True),
        (LLAMA, "acme/my-llama", True),
    ],
)
def test_a_base_may_have_another_name(trained_on: str, stated: str, other: bool) -> None:
    """A renamed repository once was refused without a way round."""
    config = read_lora_config(written(base_model_name_or_path=trained_on), "vllm")
    assert bool(other_base(config, LLAMA, stated)) == other
