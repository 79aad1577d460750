"""What config.json says of a base model: its architecture, and how long a text may be."""

from __future__ import annotations

from .json_text import FormatError, is_number, read_as_engines_do, read_json, read_mapping, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = "config.json"

LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
"""Keys of the longest text in tokens; the smallest counts. Source: vLLM 0.32.0, model_arch_config_convertor.py."""

KINDS = ("model_type", "auto_map", "speculators_config")
"""Keys that name the model's class where `architectures` does not (vLLM 0.32.0, transformers_utils/config.py).

Ollama needs `architectures`; vLLM fills that in for most values of `model_type`.
"""

WITHOUT_KIND = "LongcatFlash"
"""The architectures whose model_type vLLM knows by itself."""

SENSES = ("vision_config", "audio_config")

OWN_LENGTH = "model_max_length"
"""The key that counts alone where it is there (Command-R)."""

SCALED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
"""Kinds of RoPE scaling whose longest text the keys above have already (vLLM 0.32.0, config/model.py)."""


class ModelConfig:
    """The part of config.json that decides whether a model can serve what a stack asks of it."""

    def __init__(self, architecture: str, context_tokens: int | None, *, has_processor: bool = False) -> None:
        self.architecture = architecture
        """Empty when it names none."""
        self.context_tokens = context_tokens
        """The longest prompt plus answer; None when it does not say."""
        self.has_processor = has_processor
        """Whether it takes pictures or sound, for which an engine reads a processor's files, too."""


def read_model_config(content: bytes, engine: str = "") -> ModelConfig:
    """Return what the text of config.json says. Raises FormatError for what `engine` could not read; empty: no engine.

    Ollama reads strict JSON, vLLM what Python takes.
    """
    config = read_mapping(content, read_json if engine == "ollama" else read_as_engines_do)
    names = config.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
        raise FormatError(f"has {shown(names)} as architectures, not a list of names", "get it again")
    text = config.get("text_config")
    longest = _context({**config, **text} if isinstance(text, dict) else config)
    _refuse_unknown_kind(config, names or [], engine)
    return ModelConfig(
        (names or [""])[0],
        longest,
        has_processor=any(isinstance(config.get(key), dict) for key in SENSES),
    )


def _refuse_unknown_kind(config: dict[str, Any], names: list[str], engine: str) -> None:
    """Raise FormatError where nothing names the model's class, or not what `engine` finds it by."""
    has_kind = any(config.get(key) for key in KINDS)
    if not names and not has_kind:
        raise FormatError("names neither architectures nor a model_type", "get it again")
    if engine == "ollama" and not names:
        raise FormatError("names no architectures, which Ollama needs", "get it again")
    kind = config.get("model_type")
    if engine == "vllm" and kind is not None and not isinstance(kind, str):
        raise FormatError(f"has {shown(kind)} as model_type, not a name", "get it again")
    if engine == "vllm" and not has_kind and not any(name.startswith(WITHOUT_KIND) for name in names):
        raise FormatError("names no model_type, which vLLM needs", "get it again")


def _context(config: dict[str, Any]) -> int | None:
    """Return the longest text in tokens, RoPE scaling counted. Raises FormatError for one that is not a number."""
    lengths = {key: config[key] for key in LENGTHS if config.get(key) is not None}
    for key, each in lengths.items():
        if not is_number(each) or each <= 0:
            raise FormatError(f"has {shown(each)} as {key}, not a number of tokens", "get it again")
    if not lengths:
        return None
    longest = lengths.get(OWN_LENGTH, min(lengths.values()))
    return int(longest * (1.0 if "gemma3" in str(config.get("model_type")) else _scaling(config)))


def _scaling(config: dict[str, Any]) -> float:
    """Return by how much RoPE scaling lengthens the text. Transformers 5 calls it rope_parameters, maybe by layer."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise FormatError(f"has {shown(rope)} as rope_scaling", "get it again")
    layers = [each for each in rope.values() if isinstance(each, dict)] or [rope]
    found = 1.0
    for layer in layers:
        factor = layer.get("factor")
        if layer.get("rope_type", layer.get("type")) in SCALED or factor is None:
            continue
        if not is_number(factor) or factor <= 0:
            raise FormatError(f"has {shown(factor)} as the factor of rope_scaling", "get it again")
        found = float(factor)
    return found
