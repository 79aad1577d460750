"""Read config.json of a base model: its architecture, and its longest context."""

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
"""Keys of the longest context in tokens; the smallest counts. Source: vLLM 0.32.0, model_arch_config_convertor.py."""

KINDS = ("model_type", "auto_map", "speculators_config")
"""Keys that name the model's class if `architectures` does not (vLLM 0.32.0, transformers_utils/config.py).

Ollama needs `architectures`. vLLM derives it from most values of `model_type`.
"""

WITHOUT_KIND = "LongcatFlash"
"""Prefix of the architectures for which vLLM needs no model_type."""

SENSES = ("vision_config", "audio_config")

OWN_LENGTH = "model_max_length"
"""If this key exists, only its value counts (Command-R)."""

SCALED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
"""Kinds of RoPE scaling that the keys above already include (vLLM 0.32.0, config/model.py)."""


class ModelConfig:
    """The part of config.json that decides whether a model can be served as the stack file says."""

    def __init__(self, architecture: str, context_tokens: int | None, *, has_processor: bool = False) -> None:
        self.architecture = architecture
        """Empty if config.json has none."""
        self.context_tokens = context_tokens
        """Most tokens in prompt and answer together; None if config.json does not say."""
        self.has_processor = has_processor
        """Whether it accepts images or audio, for which an engine also reads the files of a processor."""


def read_model_config(content: bytes, engine: str = "") -> ModelConfig:
    """Return the config in the text of config.json. Raises FormatError if `engine` cannot read it.

    An empty `engine` means any engine. Ollama reads strict JSON, vLLM whatever Python's json accepts.
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
    """Raise FormatError if no key names the model's class, or not the key that `engine` needs."""
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
    """Return the longest context in tokens, with RoPE scaling. Raises FormatError if a length is not a number."""
    lengths = {key: config[key] for key in LENGTHS if config.get(key) is not None}
    for key, each in lengths.items():
        if not is_number(each) or each <= 0:
            raise FormatError(f"has {shown(each)} as {key}, not a number of tokens", "get it again")
    if not lengths:
        return None
    longest = lengths.get(OWN_LENGTH, min(lengths.values()))
    return int(longest * (1.0 if "gemma3" in str(config.get("model_type")) else _scaling(config)))


def _scaling(config: dict[str, Any]) -> float:
    """Return the factor of RoPE scaling. Transformers 5 calls it rope_parameters, which may be per layer."""
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
