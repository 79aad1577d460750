"""A tiny language model with two LoRA adapters, made here where no weights can be downloaded.

The weights are random: the answers are words without sense, yet everything around them (loading, adapters, chat
template, streaming) is what a real model goes through. The same bytes come out on every machine, so checksums can be
pinned. Needs nothing but the standard library, and does not know how the files are served.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

from core.paths import cache_dir

Shape = Literal["llama", "exaone"]
ADAPTERS = ("a", "b")
LORA_RANK = 8
CONTEXT_TOKENS = 4096
LAYERS = 2

SPECIAL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] | trim }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WORDS = (
    "the of and to in is for that with on as are this by be it from or an at not which have was will can all has "
    "contract tenant landlord rent deposit house room key note lease clause term notice repair month year day week "
    "water power light door window floor wall roof street city north south river mountain paper pen book word answer "
    "question reason number price market table chair bread salt sugar green blue white black small large old new good"
)
"""What the model says: every answer is made of these, so that it reads as text and streams word by word."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of one shape, and the names that its tensors have in published checkpoints."""

    model_class: str
    head_size: int
    heads: int
    kv_heads: int
    intermediate: int
    embed: str
    final_norm: str
    layer: str
    """Prefix of a layer's tensors, `{}` standing for its number."""
    norms: tuple[str, str]
    q: str
    k: str
    v: str
    o: str
    gate: str
    up: str
    down: str
    config: dict[str, Any]
    """Keys of config.json that only this shape has."""

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return self.head_size * self.heads

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Each matrix of a layer, by name, as (rows, columns)."""
        kv = self.head_size * self.kv_heads
        return {
            self.q: (self.hidden, self.hidden),
            self.k: (kv, self.hidden),
            self.v: (kv, self.hidden),
            self.o: (self.hidden, self.hidden),
            self.gate: (self.intermediate, self.hidden),
            self.up: (self.intermediate, self.hidden),
            self.down: (self.hidden, self.intermediate),
        }


ARCHITECTURES: dict[Shape, Architecture] = {
    "llama": Architecture(
        model_class="LlamaForCausalLM",
        head_size=64,
        heads=2,
        kv_heads=1,
        intermediate=256,
        embed="model.embed_tokens",
        final_norm="model.norm",
        layer="model.layers.{}",
        norms=("input_layernorm", "post_attention_layernorm"),
        q="self_attn.q_proj",
        k="self_attn.k_proj",
        v="self_attn.v_proj",
        o="self_attn.o_proj",
        gate="mlp.gate_proj",
        up="mlp.up_proj",
        down="mlp.down_proj",
        config={"hidden_act": "silu", "rms_norm_eps": 1e-5},
    ),
    # Class, tensor names and head size of EXAONE 3.5 2.4B. Its own model_type comes with Python code to be trusted;
    # under Llama's, the same class loads without, because the keys that it reads are all here.
    "exaone": Architecture(
        model_class="ExaoneForCausalLM",
        head_size=80,
        heads=4,
        kv_heads=2,
        intermediate=320,
        embed="transformer.wte",
        final_norm="transformer.ln_f",
        layer="transformer.h.{}",
        norms=("ln_1", "ln_2"),
        q="attn.attention.q_proj",
        k="attn.attention.k_proj",
        v="attn.attention.v_proj",
        o="attn.attention.out_proj",
        gate="mlp.c_fc_0",
        up="mlp.c_fc_1",
        down="mlp.c_proj",
        config={"activation_function": "silu", "layer_norm_epsilon": 1e-5, "num_layers": LAYERS},
    ),
}


@dataclass(frozen=True)
class TinyModel:
    """Where the files of one shape lie: a model folder, and a folder for each adapter."""

    root: Path

    @property
    def base(self) -> Path:
        """Folder of the base model."""
        return self.root / "base"

    def adapter(self, name: str) -> Path:
        """Folder of adapter `name`."""
        return self.root / f"adapter-{name}"


def make_tiny_model(shape: Shape, parent: Path | None = None) -> TinyModel:
    """Return the model of `shape`, made below `parent` (the cache's `models/`) unless it is there already."""
    parent = parent or cache_dir() / "models"
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    model = TinyModel(parent / f"tiny-{shape}-{recipe}")
    if model.root.exists():
        return model
    parent.mkdir(parents=True, exist_ok=True)
    staged = TinyModel(Path(tempfile.mkdtemp(dir=parent, prefix=f".tiny-{shape}-")))
    try:
        staged.root.chmod(0o755)
        _write_base(shape, staged.base)
        for name in ADAPTERS:
            _write_adapter(shape, name, staged.adapter(name))
        try:
            staged.root.rename(model.root)
        except OSError:
            if not model.root.exists():
                raise  # anything but a second maker that was faster
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)
    return model


def _write_base(shape: Shape, folder: Path) -> None:
    """Write config, tokenizer and weights as a hub repository has them."""
    architecture = ARCHITECTURES[shape]
    vocabulary, merges = _vocabulary()
    folder.mkdir()
    _write_json(folder / "config.json", _config(architecture, vocabulary))
    _write_json(folder / "generation_config.json", {"bos_token_id": vocabulary[BEGIN], "eos_token_id": vocabulary[END]})
    _write_json(folder / "tokenizer.json", _tokenizer(vocabulary, merges))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "pad_token": PAD,
            "model_max_length": CONTEXT_TOKENS,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    _write_tensors(folder / "model.safetensors", _base_tensors(architecture, vocabulary, Random(f"{shape} base")))  # noqa: S311  # weights, no secret


def _write_adapter(shape: Shape, name: str, folder: Path) -> None:
    """Write a LoRA adapter as peft saves it, strong enough that its answers are not the base model's."""
    architecture = ARCHITECTURES[shape]
    folder.mkdir()
    _write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": f"tiny-{shape}",
            "r": LORA_RANK,
            "lora_alpha": 2 * LORA_RANK,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(matrix.rpartition(".")[2] for matrix in architecture.projections),
        },
    )
    _write_tensors(folder / "adapter_model.safetensors", _adapter_tensors(architecture, Random(f"{shape} {name}")))  # noqa: S311  # weights, no secret


def _config(architecture: Architecture, vocabulary: dict[str, int]) -> dict[str, Any]:
    return {
        "architectures": [architecture.model_class],
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "hidden_size": architecture.hidden,
        "intermediate_size": architecture.intermediate,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.kv_heads,
        "head_dim": architecture.head_size,
        "max_position_embeddings": CONTEXT_TOKENS,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": vocabulary[BEGIN],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[PAD],
        "torch_dtype": "float32",
        **architecture.config,
    }


# Tokenizer


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte in a byte-level BPE vocabulary (GPT-2's table).

    Printable bytes stand for themselves, the others for letters from 256 on: a space is `Ġ`.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return token numbers and merges: all bytes, and each of WORDS with a space before it, letter by letter."""
    tokens = [*SPECIAL_TOKENS, *_byte_letters()]
    merges: list[tuple[str, str]] = []
    for word in WORDS.split():
        prefix = "Ġ"
        for letter in word:
            if prefix + letter not in tokens:
                tokens.append(prefix + letter)
                merges.append((prefix, letter))
            prefix += letter
    return {token: number for number, token in enumerate(tokens)}, merges


def _tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a `tokenizer.json`."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": vocabulary[token], "content": token, **flags} for token in SPECIAL_TOKENS],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [list(merge) for merge in merges],
        },
    }


# Weights


@dataclass(frozen=True)
class Tensor:
    """A matrix or vector of 32-bit floats."""

    name: str
    shape: tuple[int, ...]
    values: "array[float]"


def _random_tensor(name: str, shape: tuple[int, int], spread: float, random: Random) -> Tensor:
    """Return a matrix of even spread; no logarithm or cosine is in it, whose last bit differs between machines."""
    width, draw = 2 * spread, random.random
    return Tensor(name, shape, array("f", [(draw() - 0.5) * width for _ in range(shape[0] * shape[1])]))


def _base_tensors(architecture: Architecture, vocabulary: dict[str, int], random: Random) -> Iterator[Tensor]:
    hidden = architecture.hidden
    yield _random_tensor(f"{architecture.embed}.weight", (len(vocabulary), hidden), 1.0, random)
    for number in range(LAYERS):
        prefix = architecture.layer.format(number)
        for matrix, (rows, columns) in architecture.projections.items():
            yield _random_tensor(f"{prefix}.{matrix}.weight", (rows, columns), 3.0 * columns**-0.5, random)
        for norm in architecture.norms:
            yield Tensor(f"{prefix}.{norm}.weight", (hidden,), array("f", [1.0]) * hidden)
    yield Tensor(f"{architecture.final_norm}.weight", (hidden,), array("f", [1.0]) * hidden)
    yield _head(vocabulary, hidden, random)


def _head(vocabulary: dict[str, int], hidden: int, random: Random) -> Tensor:
    """Return the output matrix: only whole words are ever likely, and the end never is, so that lengths are exact."""
    words = {vocabulary[f"Ġ{word}"] for word in WORDS.split()}
    spread, silence = 8.0 * hidden**-0.5, array("f", [0.0]) * hidden
    values = array("f")
    for number in range(len(vocabulary)):
        row = _random_tensor("", (1, hidden), spread, random).values if number in words else silence
        values.extend(row)
    return Tensor("lm_head.weight", (len(vocabulary), hidden), values)


def _adapter_tensors(architecture: Architecture, random: Random) -> Iterator[Tensor]:
    for number in range(LAYERS):
        for matrix, (rows, columns) in architecture.projections.items():
            prefix = f"base_model.model.{architecture.layer.format(number)}.{matrix}"
            yield _random_tensor(f"{prefix}.lora_A.weight", (LORA_RANK, columns), 1.0 * columns**-0.5, random)
            yield _random_tensor(f"{prefix}.lora_B.weight", (rows, LORA_RANK), 1.0, random)


def _write_tensors(path: Path, tensors: Iterator[Tensor]) -> None:
    """Write a safetensors file: length of the header, header as JSON, then the numbers, little-endian."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = bytearray()
    for tensor in tensors:
        if sys.byteorder == "big":
            tensor.values.byteswap()
        start = len(numbers)
        numbers += tensor.values.tobytes()
        header[tensor.name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, len(numbers)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Make the shapes that the command line asks for and print their folders."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model", description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", choices=[*ARCHITECTURES, []], help="llama, exaone; none: both")
    for shape in parser.parse_args().shapes or ARCHITECTURES:
        model = make_tiny_model(shape)
        print(model.base, *(model.adapter(name) for name in ADAPTERS), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
