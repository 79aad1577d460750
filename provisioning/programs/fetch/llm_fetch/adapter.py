"""Checks that an adapter can be loaded, before its weights are fetched.

The rules are those of the controller (serving/formats). Here they check files that only the host may read.
"""

from __future__ import annotations

from pathlib import Path

from .errors import FetchError
from .json_text import MAX_CONFIG_BYTES, FormatError, shown
from .lora_config import CONFIG, other_base, read_lora_config
from .lora_tensors import WEIGHTS, check_lora
from .tensors import Folder, base_in, head
from .web import content_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lora_config import LoraConfig
    from .transfer import Source


def check_adapter(source: Source | Folder, limits: dict[str, str]) -> None:
    """Raise FetchError for an adapter that exceeds `limits`, or does not fit the base model.

    `rank` and `target-modules` are the listed ones; `engine` and `max-rank` are the engine's; `base` is the served
    repository, `stated-base` the training base by the stack file, `base-folder` the base model's folder on this host.
    """
    if not limits:
        return
    engine = limits.get("engine", "vllm")
    try:
        content = content_of(lambda: source.open(CONFIG, 0), MAX_CONFIG_BYTES, f"{source.name}: ")
        config = read_lora_config(content, engine)
    except FormatError as error:
        raise FetchError(f"{CONFIG} of {source.name} {error}") from None
    problem = _problem(config, limits)
    if problem:
        raise FetchError(f"{source.name}: {problem}")
    if "base-folder" not in limits:
        return
    try:
        check_lora(config, head(source, WEIGHTS), base_in(Path(limits["base-folder"])), engine)
    except FormatError as error:
        raise FetchError(f"{source.name}: {error}") from None


def misfit(folder: str, base_folder: str) -> str:
    """Return why the tensors of an adapter do not fit a base model, both on this host; empty if no conflict is found.

    This is for vLLM, which silently copies matrices of other sizes into a corner. It reports other problems itself.
    """
    source = Folder(Path(folder))
    try:
        config = read_lora_config(content_of(lambda: source.open(CONFIG, 0), MAX_CONFIG_BYTES), "vllm")
        tensors, base = head(source, WEIGHTS), base_in(Path(base_folder))
    except (FormatError, FetchError, OSError):
        return ""
    try:
        check_lora(config, tensors, base, "vllm")
    except FormatError as error:
        return str(error)
    return ""


def _problem(config: LoraConfig, limits: dict[str, str]) -> str:
    """Return how the adapter's config differs from the listed values; empty if it does not."""
    rank = config.rank
    if rank > int(limits.get("max-rank", rank)):
        return "rank {} is above vllm.max_lora_rank {}; raise that, or use a smaller adapter".format(
            rank, limits["max-rank"]
        )
    if rank != int(limits.get("rank", rank)):
        return "its rank is {}, not {} as listed; write rank: {}".format(rank, limits["rank"], rank)
    return _other_modules(config, limits) or _other_base(config, limits)


def _other_modules(config: LoraConfig, limits: dict[str, str]) -> str:
    """Return how the modules that the adapter changes differ from the listed ones. A pattern is not compared."""
    listed, changed = set(limits.get("target-modules", "").split(",")) - {""}, config.target_modules
    if changed is None or not listed or changed == listed:
        return ""
    modules = ", ".join(map(shown, sorted(changed)))
    return "its target modules are {}, not {} as listed".format(modules, ", ".join(sorted(listed)))


def _other_base(config: LoraConfig, limits: dict[str, str]) -> str:
    """Return an error if it was trained on another model."""
    served, stated = limits.get("base", ""), limits.get("stated-base", "")
    other = other_base(config, served, stated)
    if not other:
        return ""
    return (
        f"was trained on {other}, not on {stated or served}; use its own base, or write base: {other} if that is "
        "another name of the same model"
    )
