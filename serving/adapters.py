"""What a LoRA adapter says of itself, and whether it fits the base model: its files are read, no weight is loaded."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError
from core.files import sha256_of
from serving.spec import AdapterSpec

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

MAX_HEADER_BYTES = 100 * 1024 * 1024
"""Limit of the safetensors format itself; a larger number means that this is no such file."""

TIED_MODULES = ("lm_head", "embed_tokens", "wte")
"""Checkpoints with tied weights hold only one of them."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class AdapterConfig:
    """The part of adapter_config.json that decides whether an engine can load it."""

    rank: int
    base_model: str
    """As peft wrote it: a repository of the hub, or a path on the machine that trained it."""
    full_modules: tuple[str, ...]
    """Modules trained whole beside the adapter; vLLM and Ollama cannot load them."""
    dora: bool
    bias: str
    target_modules: frozenset[str] | None
    """Last parts of the names of the modules that it changes; none where a pattern stands for them."""


def read_adapter_config(folder: Path, *, where: str) -> AdapterConfig:
    """Return what adapter_config.json in `folder` says. Raises ConfigError when it is missing or is no LoRA's."""
    path = folder / CONFIG
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{folder} has no {CONFIG}", where=where, hint="name the folder that peft saved") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not JSON", where=where, hint="export the adapter again") from error
    kind = content.get("peft_type") if isinstance(content, dict) else None
    if kind != "LORA" or not isinstance(content.get("r"), int):
        raise ConfigError(f"{path} is not of a LoRA adapter ({kind})", where=where, hint="export it as LoRA with peft")
    return AdapterConfig(
        # rank_pattern gives single modules a rank of their own; the largest one must fit.
        rank=max([content["r"], *(content.get("rank_pattern") or {}).values()]),
        base_model=str(content.get("base_model_name_or_path") or ""),
        full_modules=tuple(content.get("modules_to_save") or ()),
        dora=bool(content.get("use_dora")),
        bias=str(content.get("bias") or "none"),
        target_modules=_last_parts(content.get("target_modules")),
    )


def _last_parts(modules: Any) -> frozenset[str] | None:
    """Return what peft's `target_modules` names; it may be a list, or a pattern such as `all-linear`."""
    return frozenset(str(each).rpartition(".")[2] for each in modules) if isinstance(modules, list) else None


def check_adapter(
    adapter: AdapterSpec,
    folder: Path,
    *,
    base: Path | None,
    base_repo: str | None,
    max_rank: int | None,
    where: str,
) -> None:
    """Raise ConfigError unless the adapter in `folder` is the one that the spec means and fits the base model.

    `base` is the base model's folder, when it lies here; `base_repo` its repository, when it comes from the hub;
    `max_rank` the largest rank that the engine makes room for.
    """
    config = read_adapter_config(folder, where=where)
    check_config(adapter, config, folder, base_repo=base_repo, max_rank=max_rank, where=where)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ConfigError(f"{folder} has no {WEIGHTS}", where=where, hint="save it with safe_serialization=True")
    _check_sha256(adapter, weights, where=where)
    check_tensors(config, read_shapes(weights), base_shapes(base) if base else {}, folder, where=where)


def check_config(
    adapter: AdapterSpec,
    config: AdapterConfig,
    folder: Path | str,
    *,
    base_repo: str | None,
    max_rank: int | None,
    where: str,
) -> None:
    """Raise ConfigError unless what the adapter says of itself fits; `folder` names the place of its files.

    All that can be told before its weights are here.
    """
    if max_rank is not None and config.rank > max_rank:
        raise ConfigError(
            f"rank {config.rank} of {folder} is above vllm.max_lora_rank {max_rank}",
            where=where,
            hint=f"write max_lora_rank: {config.rank} or more",
        )
    if config.rank != adapter.rank:
        what = f"{adapter.rank} is not the {config.rank} of its {CONFIG}"
        raise ConfigError(what, where=f"{where}.rank", hint=f"write rank: {config.rank}")
    if config.full_modules or config.dora or config.bias != "none":
        odd = ", ".join(config.full_modules) or ("DoRA" if config.dora else f"bias {config.bias}")
        raise ConfigError(
            f"{folder} holds more than LoRA matrices ({odd})",
            where=where,
            hint="merge it into the base model, or train it without",
        )
    _check_listed_modules(adapter, config, where=where)
    base_repo = base_repo or adapter.base
    is_repository = config.base_model.count("/") == 1 and not config.base_model.startswith((".", "/"))
    if base_repo is not None and is_repository and config.base_model.lower() != base_repo.lower():
        raise ConfigError(
            f"{folder} was trained on {config.base_model}, not on {base_repo}", where=where, hint="use its own base"
        )


def _check_listed_modules(adapter: AdapterSpec, config: AdapterConfig, *, where: str) -> None:
    """Refuse an adapter that changes other modules than those that are listed."""
    listed, changed = set(adapter.target_modules), config.target_modules
    if not listed or changed is None or changed == listed:
        return
    unknown, extra = sorted(listed - changed), sorted(changed - listed)
    raise ConfigError(
        f"{unknown[0]} is none of its target modules" if unknown else f"{extra[0]} is missing",
        where=f"{where}.target_modules",
        hint=f"write those of {CONFIG}: [{', '.join(sorted(changed))}]",
    )


def _check_sha256(adapter: AdapterSpec, weights: Path, *, where: str) -> None:
    if adapter.sha256 is None:
        return
    found = sha256_of(weights)
    if found != adapter.sha256:
        raise ConfigError(
            f"{weights} has SHA-256 {found}, not the one that is pinned",
            where=f"{where}.sha256",
            hint="get the file again, or give a new adapter a new version and checksum",
        )


def base_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the tensors of the base model in `folder`; none of another format than safetensors."""
    return {name: shape for path in sorted(folder.glob("*.safetensors")) for name, shape in read_shapes(path).items()}


def check_tensors(config: AdapterConfig, lora: Shapes, base: Shapes, folder: Path | str, *, where: str) -> None:
    """Refuse an adapter whose tensors are no match for those of the base: by the modules, and by their sizes if known.

    Lenient where checkpoints name things differently (quantised, fused or tied weights): the engine has the last word.
    """
    modules = {part for name in base for part in name.split(".")}
    for name, shape in adapted_shapes(lora).items() if base else ():
        seen = base.get(f"{name}.weight") or shape
        leaf = name.rpartition(".")[2]
        if seen != shape:
            difference = f"its {name} is {_sizes(shape)}, the base has {_sizes(seen)}"
        elif leaf not in modules and leaf not in TIED_MODULES:
            difference = f"the base has no {leaf}"
        else:
            continue
        raise ConfigError(
            f"{folder} was trained on another base model: {difference}",
            where=where,
            hint=f"use the base that {CONFIG} names: {config.base_model or 'none'}",
        )


def _sizes(shape: tuple[int, ...]) -> str:
    return " by ".join(map(str, shape))


def adapted_shapes(lora: Shapes) -> dict[str, tuple[int, int]]:
    """Return the matrices of the base model that LoRA tensors were trained for, each as (rows, columns)."""
    found = {}
    for name, shape in lora.items():
        module, is_a, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
        other = lora.get(name.replace(".lora_A.", ".lora_B."))
        if is_a and other is not None:
            found[module] = (other[0], shape[1])
    return found


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors in a safetensors file; only its header is read.

    Raises ConfigError when it is no such file, or shorter than its header says (a download that was cut off, or a
    pointer of Git LFS).
    """
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError("header too long")
            header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if path.stat().st_size != 8 + length + end:
            raise ValueError("wrong length")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ConfigError("is no whole safetensors file", where=str(path), hint="get it again") from error
    return shapes
