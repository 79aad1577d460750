"""What adapter_config.json says of a LoRA adapter, and whether the engine's release can load that.

Nothing passes that is not known to load. The keys are those of peft 0.21's LoraConfig; what is refused follows vLLM
0.32.0 (vllm/lora/peft_helper.py) and Ollama's converter (convert/convert_adapter.go). One adapter that vLLM refused
when it started once ended the whole endpoint.
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
"""`init_lora_weights` that only choose the first weights; the others (pissa, olora, corda, loftq) change the base."""

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
"""Keys whose value must be empty or false: each stands for weights or a computation that no engine here has."""

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
"""Keys about training alone, whatever their value: the saved matrices are the same."""

READ = frozenset(
    ["r", "lora_alpha", "target_modules", "bias", "use_rslora", "init_lora_weights", "rank_pattern", "alpha_pattern"]
)

EMPTY = (None, False, "", "none")
"""What an unknown key may say: a later release of peft has it, and this adapter does not use it."""

MAX_PATTERNS = 1024
MAX_REPETITIONS = 3


class LoraConfig:
    """The part of adapter_config.json that decides whether an engine can load it."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.r: int = content["r"]
        self.alpha: float = content["lora_alpha"]
        self.rslora = bool(content.get("use_rslora"))
        self.base_model = str(content.get("base_model_name_or_path") or "")
        """As peft wrote it: a repository of the hub, or a path on the machine that trained it."""
        ranks: dict[str, int] = content.get("rank_pattern") or {}
        self.rank = max([self.r, *ranks.values()])
        """The largest of all modules: it must fit."""
        self.target_modules = _last_parts(content.get("target_modules"))
        """Last parts of the names of the modules that it changes; None where a pattern stands for them."""
        self._ranks = [(re.compile(rf"(.*\.)?({key})$"), rank) for key, rank in ranks.items()]

    def rank_of(self, module: str) -> int:
        """Return the rank of one module, as peft chooses it: the first pattern that matches the end of its name."""
        return next((rank for pattern, rank in self._ranks if pattern.match(module)), self.r)


def read_lora_config(content: bytes, engine: str) -> LoraConfig:
    """Return what the text of adapter_config.json says. Raises FormatError for what `engine` cannot load."""
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
    """Return whether a pattern of module names is matched at once: it repeats `.*` and digits alone, and seldom."""
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
    """Refuse each key that says more than LoRA, or that nobody here knows and that is not empty."""
    for key, words in MORE_THAN_LORA.items():
        value = config.get(key)
        if value:
            named = words or ", ".join(shown(each) for each in (value if isinstance(value, list) else [value])[:5])
            raise FormatError(f"holds more than LoRA matrices ({named})", WITHOUT)
    bias = config.get("bias", "none")
    if bias != "none":
        # vLLM refuses null, too, which other programs than peft write.
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
    """Refuse what Ollama's converter drops: it reads r and lora_alpha alone, and the answers would be other ones."""
    if not is_whole_number(config["lora_alpha"]) or config["lora_alpha"] <= 0:
        raise FormatError(f"has lora_alpha {shown(config['lora_alpha'])}: Ollama reads whole numbers", PLAIN)
    for key in ("use_rslora", "alpha_pattern"):
        if config.get(key):
            raise FormatError(f"uses {key}, which Ollama does not read", "write engine: vllm, or " + PLAIN)


def _last_parts(modules: Any) -> frozenset[str] | None:
    """Return what peft's `target_modules` names; it may be a list, or a pattern such as `all-linear`."""
    return frozenset(each.rpartition(".")[2] for each in modules) if isinstance(modules, list) else None


def other_base(config: LoraConfig, served: str, stated: str) -> str:
    """Return the repository that the adapter was trained on, where that is another model than the served one.

    `stated` is what the user says that it was trained on: it overrules `served`, the served repository. Either may be
    empty. A path on the machine that trained the adapter tells nothing; its tensors do.
    """
    trained_on, wanted = repository(config.base_model), stated or served
    return trained_on if trained_on and wanted and not same_model(trained_on, wanted) else ""
