"""The sources of a model, and a recipe that changes with any of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK_BYTES = 1 << 20
ADAPTER_WAY = "rows of q_proj and k_proj in the order of GGUF"
FOLDER_WAY = "default system prompt of the chat template"
"""How adapters and converted models are made. Models that were made differently are made again."""
MODEL_FILES = ("*.safetensors", "*.json", "tokenizer.model")


def files_of(folder: Path) -> list[Path]:
    """Return the files of a model or an adapter in Hugging Face's format."""
    return sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if not path.name.startswith(".")})


def recipes(models: list[dict[str, Any]]) -> dict[str, str]:
    """Return the recipe of each name: it changes with any of the model's inputs."""
    found: dict[str, str] = {}
    for model in models:
        source = model["from"]
        files = (
            [Path(source["gguf"])]
            if "gguf" in source
            else files_of(Path(source["folder"]))
            if "folder" in source
            else []
        )
        files += files_of(Path(model["adapter"])) if model.get("adapter") else []
        seen = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        way = [ADAPTER_WAY] if model.get("adapter") else [FOLDER_WAY] if "folder" in source else []
        words = json.dumps([model, seen, found.get(source.get("model", ""), ""), *way], sort_keys=True)
        for name in model["names"]:
            found[name] = hashlib.sha256(words.encode()).hexdigest()
    return found


def sha256_of(path: Path) -> str:
    """Return the checksum of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            found.update(block)
    return found.hexdigest()
