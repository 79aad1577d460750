"""A manifest of the tiny model's adapters, as a person would write it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tools.tiny_model import make_tiny_model


def listed(name: str, version: int, letter: str, **changed: Any) -> dict[str, Any]:
    """Return one version, made of adapter `letter` of the tiny llama."""
    folder = make_tiny_model("llama").adapter(letter)
    config = json.loads((folder / "adapter_config.json").read_text())
    return {
        "name": name,
        "version": version,
        "source": {"kind": "tiny", "name": "llama", "adapter": letter},
        "sha256": hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest(),
        "base": "tiny",
        "rank": config["r"],
        "target_modules": config["target_modules"],
        **changed,
    }


def write_manifest(path: Path, *adapters: dict[str, Any]) -> None:
    """Write a manifest; JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"adapters": adapters}))
