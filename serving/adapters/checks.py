"""Check a LoRA adapter in a folder of this computer: its config, its tensors, and whether it fits the base model.

Reads no weights. The rules are in serving/formats, which hosts run too (programs/fetch/llm_fetch).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from core.errors import ConfigError
from core.files import sha256_of
from core.reading.regular_files import open_regular, read_small
from serving.formats.json_text import FormatError, shown
from serving.formats.lora_config import CONFIG, LoraConfig, other_base, read_lora_config
from serving.formats.lora_tensors import WEIGHTS, Base, check_lora
from serving.formats.model_config import read_model_config
from serving.formats.weight_heads import SUFFIX, Tensor, read_head
from serving.spec.fields import AdapterSpec

__all__ = ["CONFIG", "WEIGHTS", "LoraConfig"]

Heads = Mapping[str, Tensor]
"""The tensors of a file by name."""

Result = TypeVar("Result")


def read_adapter_config(folder: Path, *, where: str, engine: str = "vllm") -> LoraConfig:
    """Return adapter_config.json in `folder`. Raises ConfigError unless `engine` can load such an adapter."""
    path = folder / CONFIG
    try:
        content = read_small(path)
    except FileNotFoundError:
        raise ConfigError(f"{folder} has no {CONFIG}", where=where, hint="write the folder that peft saved") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror})", where=where, hint="let your user read it"
        ) from None
    return in_words(lambda: read_lora_config(content, engine), str(path), where)


def in_words(work: Callable[[], Result], subject: str, where: str) -> Result:
    """Return the result of `work`. A FormatError becomes a ConfigError about `subject`."""
    try:
        return work()
    except FormatError as error:
        raise ConfigError(f"{subject} {error.what}", where=where, hint=error.hint) from None


def check_adapter(
    adapter: AdapterSpec,
    folder: Path,
    *,
    base: Path | None,
    base_repo: str | None,
    max_rank: int | None,
    where: str,
) -> None:
    """Raise ConfigError unless the adapter in `folder` matches the spec and fits the base model.

    `base` is the base model's folder if it is on this computer, `base_repo` its repository if it comes from the hub.
    `max_rank` is the largest rank for which vLLM allocates memory; None for Ollama.
    """
    engine = "ollama" if max_rank is None else "vllm"
    config = read_adapter_config(folder, where=where, engine=engine)
    check_config(adapter, config, folder, base_repo=base_repo, max_rank=max_rank, where=where)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ConfigError(f"{folder} has no {WEIGHTS}", where=where, hint="save it with safe_serialization=True")
    _check_sha256(adapter, weights, where=where)
    check_tensors(config, read_heads(weights), base_of(base) if base else Base({}), folder, engine=engine, where=where)


def check_config(
    adapter: AdapterSpec,
    config: LoraConfig,
    folder: Path | str,
    *,
    base_repo: str | None,
    max_rank: int | None,
    where: str,
) -> None:
    """Raise ConfigError unless the adapter's config fits; `folder` is the name of its place in messages.

    This is everything that can be compared without its weights.
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
    _check_listed_modules(adapter, config, where=where)
    other = other_base(config, base_repo or "", adapter.base or "")
    if other:
        raise ConfigError(
            f"{folder} was trained on {other}, not on {adapter.base or base_repo}",
            where=where,
            hint=f"use its own base, or write base: {other} (in a manifest trained_on) if that is the same model",
        )


def _check_listed_modules(adapter: AdapterSpec, config: LoraConfig, *, where: str) -> None:
    """Refuse an adapter whose modules differ from the listed ones."""
    listed, changed = set(adapter.target_modules), config.target_modules
    if not listed or changed is None or changed == listed:
        return
    unknown, extra = sorted(listed - changed), sorted(changed - listed)
    raise ConfigError(
        f"{unknown[0]} is not one of its target modules" if unknown else f"{shown(extra[0])} is missing",
        where=f"{where}.target_modules",
        hint=f"write those of {CONFIG}: [{', '.join(map(shown, sorted(changed)))}]",
    )


def _check_sha256(adapter: AdapterSpec, weights: Path, *, where: str) -> None:
    if adapter.sha256 is None:
        return
    found = sha256_of(weights)
    if found != adapter.sha256:
        raise ConfigError(
            f"{weights} has SHA-256 {found}, not the pinned one",
            where=f"{where}.sha256",
            hint="get the file again, or write a new version with its checksum",
        )


def base_of(folder: Path) -> Base:
    """Return the base model in `folder`; without tensors if it is not in safetensors."""
    heads = {name: each for path in sorted(folder.glob(f"*{SUFFIX}")) for name, each in read_heads(path).items()}
    return Base(heads, architecture_of(folder))


def architecture_of(folder: Path) -> str:
    """Return the architecture in config.json of `folder`; empty if it has none."""
    try:
        return read_model_config(read_small(folder / "config.json")).architecture
    except (OSError, FormatError, ConfigError):
        return ""


def check_tensors(
    config: LoraConfig, lora: Heads, base: Base, folder: Path | str, *, engine: str = "vllm", where: str
) -> None:
    """Raise ConfigError unless `engine` can load the adapter's tensors, and they fit the known ones of the base."""
    in_words(lambda: check_lora(config, lora, base, engine), str(folder), where)


def read_heads(path: Path) -> Heads:
    """Return the tensors of a safetensors file from its header. Raises ConfigError for any other file."""
    try:
        with open_regular(path) as stream:
            return read_head(stream, path.stat().st_size)
    except FormatError as error:
        raise ConfigError(error.what, where=str(path), hint=error.hint) from None
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), hint="let your user read it") from None
