"""Generates the folders of a tiny model once and keeps them in the cache. Every machine generates the same bytes."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from core.paths import cache_dir
from tools.tiny_model.architectures import ARCHITECTURES, CONTEXT_TOKENS, LAYERS, Architecture, Shape
from tools.tiny_model.tokenizer import BEGIN, END, PAD, tokenizer, tokenizer_config, vocabulary_and_merges
from tools.tiny_model.weights import LORA_RANK, adapter_tensors, base_tensors, write_tensors

ADAPTERS = ("a", "b")


@dataclass(frozen=True)
class TinyModel:
    """The folders of one shape: one for the model, and one for each adapter."""

    root: Path

    @property
    def base(self) -> Path:
        """Folder of the base model."""
        return self.root / "base"

    def adapter(self, name: str) -> Path:
        """Folder of adapter `name`."""
        return self.root / f"adapter-{name}"


def make_tiny_model(shape: Shape, parent: Path | None = None) -> TinyModel:
    """Return the model of `shape` below `parent` (default: the cache's `models/`). Generates it if it is missing."""
    parent = parent or cache_dir() / "models"
    model = TinyModel(parent / f"tiny-{shape}-{_recipe()}")
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
                raise  # another process may have finished first; every other error is real
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)
    return model


def _recipe() -> str:
    """Return a hash of this package's files: another version of the package gets a folder of its own."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def _write_base(shape: Shape, folder: Path) -> None:
    """Write config, tokenizer and weights, as in a repository of the hub."""
    architecture = ARCHITECTURES[shape]
    vocabulary, merges = vocabulary_and_merges()
    folder.mkdir()
    _write_json(folder / "config.json", _config(architecture, vocabulary))
    _write_json(folder / "generation_config.json", {"bos_token_id": vocabulary[BEGIN], "eos_token_id": vocabulary[END]})
    _write_json(folder / "tokenizer.json", tokenizer(vocabulary, merges))
    _write_json(folder / "tokenizer_config.json", tokenizer_config())
    write_tensors(folder / "model.safetensors", base_tensors(architecture, vocabulary, Random(f"{shape} base")))  # noqa: S311  # weights, no secret


def _write_adapter(shape: Shape, name: str, folder: Path) -> None:
    """Write a LoRA adapter as peft saves it. It is so strong that its answers differ from the base model's."""
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
    write_tensors(folder / "adapter_model.safetensors", adapter_tensors(architecture, Random(f"{shape} {name}")))  # noqa: S311  # weights, no secret


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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
