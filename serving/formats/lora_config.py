"""Read adapter_config.json of a LoRA adapter, and check that the engine can load the adapter.

Only what is known to load passes: one adapter that vLLM refused at its start once ended the whole endpoint. The keys
are those of peft 0.21's LoraConfig. The refusals follow vLLM 0.32.0 (vllm/lora/peft_helper.py) and Ollama's converter
(convert/convert_adapter.go).
"""

from __future__ import annotations

import re

from .base_names import repository, same_model
from .json_text import FormatError, is_number, is_whole_number, read_mapping, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = "adapter_config.json"

PLAIN = "train it again as plain LoRA, or merge it into the base model"
WITHOUT = "merge it into the base model, or train it without"

HARMLESS_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""`init_lora_weights` that only set initial weights. The others (pissa, olora, corda, loftq) change the base model."""

MORE_THAN_LORA = {
    "use_dora": "DoRA",
    "lora_bias": "lora_bias",
    "modules_to_save": "",
    "trainable_token_indices": "trainable_token_indices",
    "target_parameters": "target_parameters",
    "layer_replication": "layer_replication",
    "alora_invocation_tokens": "aLoRA",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QALoRA",
    "arrow_config": "arrow_config",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "megatron_config",
    "fan_in_fan_out": "fan_in_fan_out",
}
"""Keys whose value must be empty or false, because they need weights or computations that no engine here has."""

IGNORED = frozenset(
    [
        "auto_mapping",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "task_type",
        "peft_type",
        "peft_version",
        "lora_dropout",
        "layers_to_transform",
        "layers_pattern",
        "exclude_modules",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "velora_config",
        "runtime_config",
        "ephemeral_gpu_offload",
        "megatron_core",
        "qalora_group_size",
        "ensure_weight_tying",
        "unsloth_fixed",
        "unsloth_version",
    ]
)
"""Keys about the training. With any value, the saved matrices are the same."""

READ = frozenset(
    ["r", "lora_alpha", "target_modules", "bias", "use_rslora", "init_lora_weights", "rank_pattern", "alpha_pattern"]
)

EMPTY = (None, False, "", "none")
"""Allowed values of an unknown key: a later release of peft has it, but the adapter does not use it."""

MAX_PATTERNS = 1024
MAX_REPETITIONS = 3


class LoraConfig:
    """The part of adapter_config.json that decides whether an engine can load the adapter."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.r: int = content["r"]
        self.alpha: float = content["lora_alpha"]
        self.rslora = bool(content.get("use_rslora"))
        self.base_model = str(content.get("base_model_name_or_path") or "")
        """As peft wrote it: a repository of the hub, or a path on the machine of the training."""
        ranks: dict[str, int] = content.get("rank_pattern") or {}
        self.rank = max([self.r, *ranks.values()])
        """The largest rank of all modules."""
        self.target_modules = _last_parts(content.get("target_modules"))
        """Last parts of the names of the changed modules; None if the config has a pattern instead."""
        self._ranks = [(re.compile(rf"(.*\.)?({key})$"), rank) for key, rank in ranks.items()]

    def rank_of(self, module: str) -> int:
        """Return the rank of one module, from the first pattern that matches the end of its name, as in peft."""
        return next((rank for pattern, rank in self._ranks if pattern.match(module)), self.r)


def read_lora_config(content: bytes, engine: str) -> LoraConfig:
    """Return the config in the text of adapter_config.json. Raises FormatError if `engine` cannot load it."""
    config = read_mapping(content)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise FormatError(f"is not of a LoRA adapter ({shown(kind)})", "export it as LoRA with peft")
    _check_numbers(config)
    _check_modules(config)
    _check_nothing_more(config)
    if engine == "ollama":
        _check_for_ollama(config)
    return LoraConfig(config)


def _check_numbers(config: dict[str, Any]) -> None:
    """Refuse ranks and scales that are missing or impossible."""
    if not is_whole_number(config.get("r")) or not 0 < config["r"] <= 1 << 16:
        raise FormatError(f"is not of a LoRA adapter: r is {shown(config.get('r'))}", "export it as LoRA with peft")
    if not is_number(config.get("lora_alpha")):
        what = f"has {shown(config.get('lora_alpha'))} as lora_alpha, not a number"
        raise FormatError(what, "write the lora_alpha that it was trained with")
    for key in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(key) or {}
        if not isinstance(patterns, dict) or len(patterns) > MAX_PATTERNS:
            raise FormatError(f"has a {key} that is not an object", "export it again")
        for name, value in patterns.items():
            is_right = is_whole_number(value) and 0 < value <= 1 << 16 if key == "rank_pattern" else is_number(value)
            if not is_right or not _is_simple(name):
                raise FormatError(f"has {shown(name)}: {shown(value)} in its {key}", "export it again")


def _is_simple(pattern: str) -> bool:
    """Return whether a pattern of module names matches fast: it repeats only `.*` and digits, and rarely."""
    if pattern.count(".*") + pattern.count(r"\d+") > MAX_REPETITIONS or re.search(
        r"[*+?{}]", pattern.replace(".*", "").replace(r"\d+", "")
    ):
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return len(pattern) <= 256  # noqa: PLR2004


def _check_modules(config: dict[str, Any]) -> None:
    if "target_modules" not in config:
        raise FormatError("has no target_modules", "export it again with peft")
    modules = config["target_modules"]
    is_list = isinstance(modules, list) and all(isinstance(each, str) for each in modules)
    if not (is_list or modules is None or isinstance(modules, str)):
        raise FormatError(f"has {shown(modules)} as target_modules", "export it again with peft")


def _check_nothing_more(config: dict[str, Any]) -> None:
    """Refuse keys that need more than LoRA, and unknown keys that are not empty."""
    for key, words in MORE_THAN_LORA.items():
        value = config.get(key)
        if value:
            named = words or ", ".join(shown(each) for each in (value if isinstance(value, list) else [value])[:5])
            raise FormatError(f"holds more than LoRA matrices ({named})", WITHOUT)
    bias = config.get("bias", "none")
    if bias != "none":
        # vLLM also refuses null, which some programs other than peft write.
        hint = 'write "bias": "none"' if bias is None else WITHOUT
        raise FormatError(f"holds more than LoRA matrices (bias {shown(bias)})", hint)
    start = config.get("init_lora_weights")
    if not (start is None or isinstance(start, bool) or (isinstance(start, str) and start.lower() in HARMLESS_STARTS)):
        what = f"was trained with init_lora_weights: {shown(start)}, which changes the base model's weights"
        raise FormatError(what, "convert it to plain LoRA with peft's path_initial_model_for_weight_conversion")
    if not isinstance(config.get("use_rslora", False), (bool, type(None))):
        raise FormatError(f"has {shown(config['use_rslora'])} as use_rslora", "write true or false")
    for key in sorted(set(config) - READ - IGNORED - set(MORE_THAN_LORA)):
        if config[key] not in EMPTY and config[key] not in ([], {}):
            raise FormatError(f"sets {shown(key)}, which no engine here knows", PLAIN)


def _check_for_ollama(config: dict[str, Any]) -> None:
    """Refuse what Ollama's converter drops. It reads only r and lora_alpha, so the answers would differ."""
    if not is_whole_number(config["lora_alpha"]) or config["lora_alpha"] <= 0:
        raise FormatError(f"has lora_alpha {shown(config['lora_alpha'])}: Ollama reads whole numbers", PLAIN)
    for key in ("use_rslora", "alpha_pattern"):
        if config.get(key):
            raise FormatError(f"uses {key}, which Ollama does not read", "write engine: vllm, or " + PLAIN)


def _last_parts(modules: Any) -> frozenset[str] | None:
    """Return the modules in peft's `target_modules`: a list, or a pattern such as `all-linear`, which gives None."""
    return frozenset(each.rpartition(".")[2] for each in modules) if isinstance(modules, list) else None


def other_base(config: LoraConfig, served: str, stated: str) -> str:
    """Return the repository that the adapter was trained on if it is another model than the served one, else empty.

    `stated` is the base according to the user. It replaces `served`, the served repository. Either may be empty. If
    the adapter has a path instead of a repository, only its tensors can be compared.
    """
    trained_on, wanted = repository(config.base_model), stated or served
    return trained_on if trained_on and wanted and not same_model(trained_on, wanted) else ""
