"""Whether a folder holds a model as every engine reads it. Opens no weights and knows no adapter."""

from pathlib import Path

from core.errors import ConfigError

CONFIG = "config.json"
WEIGHTS = ("*.safetensors", "*.bin")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def check_model(folder: Path, *, where: str) -> None:
    """Raise ConfigError unless `folder` holds a config, weights and a tokenizer; `where` is its key in the config."""
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder} has no {CONFIG}", where=where, hint="name the folder that holds it")
    if not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise ConfigError(f"{folder} has no weights", where=where, hint=f"put the {WEIGHTS[0]} files beside {CONFIG}")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ConfigError(f"{folder} has no tokenizer", where=where, hint=f"put {TOKENIZERS[0]} beside {CONFIG}")
