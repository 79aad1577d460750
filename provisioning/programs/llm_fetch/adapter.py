"""Whether an adapter can be loaded: looked at before its weights are fetched.

The rules are those of serving/adapters.py, which can look only at what the controlling machine may read.
"""

from __future__ import annotations

import json
from pathlib import Path

from .errors import FetchError
from .tensors import Folder, head, shapes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .tensors import Shapes
    from .transfer import Source

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TIED_MODULES = ("lm_head", "embed_tokens", "wte")
"""Checkpoints with tied weights hold only one of them."""


def check_adapter(source: Source | Folder, limits: dict[str, str]) -> None:
    """Raise FetchError for an adapter that is not what `limits` say, or does not fit the base model.

    `rank` and `target-modules` are those listed; `max-rank` is the engine's, `base` a repository, `base-folder` where
    the base model lies here.
    """
    if not limits:
        return
    config = _config(source)
    problem = _problem(config, limits)
    if problem:
        raise FetchError(f"{source.name}: {problem}")
    folder = Folder(Path(limits.get("base-folder", "")))
    known = shapes_of(folder, folder.names()) if limits.get("base-folder") else {}
    difference = known and _difference(head(source, WEIGHTS), known)
    if difference:
        named = config.get("base_model_name_or_path") or "none"
        raise FetchError(
            f"{source.name}: was trained on another base model: {difference}; use the base that {CONFIG} names: {named}"
        )


def _config(source: Source | Folder) -> dict[str, Any]:
    with source.open(CONFIG, 0) as answer:
        try:
            config: dict[str, Any] = json.load(answer)
            config["rank"] = max([int(config["r"]), *(config.get("rank_pattern") or {}).values()])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError(f"{CONFIG} of {source.name} is not of a LoRA adapter") from error
    if config.get("peft_type") != "LORA":
        raise FetchError(f"{CONFIG} of {source.name} is not of a LoRA adapter")
    return config


def _problem(config: dict[str, Any], limits: dict[str, str]) -> str:
    """Return why the adapter cannot be loaded or is another one than listed; empty when its config says neither."""
    rank = config["rank"]
    if rank > int(limits.get("max-rank", rank)):
        return "rank {} is above vllm.max_lora_rank {}; raise that, or use a smaller adapter".format(
            rank, limits["max-rank"]
        )
    if rank != int(limits.get("rank", rank)):
        return "its rank is {}, not {} as listed; write rank: {}".format(rank, limits["rank"], rank)
    bias = config.get("bias") or "none"
    odd = [*(config.get("modules_to_save") or []), *(["DoRA"] if config.get("use_dora") else [])]
    odd += [f"bias {bias}"] if bias != "none" else []
    if odd:
        return "holds more than LoRA matrices ({}); merge it into the base model, or train it without".format(
            ", ".join(odd)
        )
    return _other_modules(config, limits) or _other_base(config, limits)


def _other_modules(config: dict[str, Any], limits: dict[str, str]) -> str:
    """Return which module is listed and not changed, or the other way round. A pattern of modules is not compared."""
    modules, listed = config.get("target_modules"), set(limits.get("target-modules", "").split(",")) - {""}
    if not isinstance(modules, list) or not listed:
        return ""
    changed = {str(each).rpartition(".")[2] for each in modules}
    if changed == listed:
        return ""
    return "its target modules are {}, not {} as listed".format(", ".join(sorted(changed)), ", ".join(sorted(listed)))


def _other_base(config: dict[str, Any], limits: dict[str, str]) -> str:
    """Return which other repository it was trained on; a path on the machine that trained it tells nothing."""
    base, wanted = str(config.get("base_model_name_or_path") or ""), limits.get("base", "")
    is_repository = base.count("/") == 1 and not base.startswith((".", "/"))
    if wanted and is_repository and base.lower() != wanted.lower():
        return f"was trained on {base}, not on {wanted}; use its own base"
    return ""


def _difference(lora: Shapes, known: Shapes) -> str:
    """Return what of the base is unlike the one that the adapter was trained on; empty when nothing is known to be.

    Lenient where checkpoints name things differently (quantised, fused or tied weights): the engine has the last word.
    """
    modules = {part for name in known for part in name.split(".")}
    for name, shape in lora.items():
        module, is_a, _ = name.replace("base_model.model.", "", 1).partition(".lora_A.")
        other = lora.get(name.replace(".lora_A.", ".lora_B."))
        if not is_a or other is None:
            continue
        trained, leaf = [other[0], shape[1]], module.rpartition(".")[2]
        seen = known.get(module + ".weight") or trained
        if seen != trained:
            return "its {} is {}, the base has {}".format(module, *(" by ".join(map(str, s)) for s in (trained, seen)))
        if leaf not in modules and leaf not in TIED_MODULES:
            return f"the base has no {leaf}"
    return ""
