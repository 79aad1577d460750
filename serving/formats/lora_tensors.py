"""Check that an engine can load the tensors of a LoRA adapter, and that they fit the base model.

Only what is known to load passes: each tensor must be one of the two LoRA matrices of a module of the base, with the
rank of the config. Follows vLLM 0.32.0 (vllm/lora/utils.py, lora_model.py), which refuses other names, and silently
copies a matrix of another size into a corner of its own.
"""

from __future__ import annotations

import re

from .json_text import FormatError, shown
from .vllm_lora import EMBEDDINGS, EMBEDDINGS_AND_HEAD, WITHOUT_LORA
from .weight_heads import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .lora_config import LoraConfig
    from .weight_heads import Heads

WEIGHTS = "adapter_model.safetensors"

NAME = re.compile(r"(?:base_model\.model\.)*(?P<module>.+)\.lora_(?:(?P<side>[AB])\.weight|embedding_(?P<other>[AB]))")

FLOATS = ("F64", "F32", "F16", "BF16")
SAME_SIZES = (*FLOATS, "F8_E4M3", "F8_E5M2", "I8")
"""Types of weights that are not packed, so that their sizes are those of the module."""

HEAD, INPUTS = "lm_head", ("embed_tokens", "wte")
TIED = (HEAD, *INPUTS)
"""Checkpoints with tied weights have only one of them."""

BASE_EMBEDDINGS = (".embed_tokens.base_layer.weight", ".lm_head.base_layer.weight")
"""Weights of the base that peft saves beside LoRA of embeddings. vLLM ignores them."""

STORED_AS = ("weight", "qweight", "weight_packed")
MAX_NAME = 256
"""Longest name of a module, in characters; real ones have about 100. Patterns of the config are matched with it."""

WRAPPERS = ("_orig_mod", "module")
"""Words that torch.compile and DistributedDataParallel add to names, and that no engine removes."""

EXPERT = re.compile(r"(?P<layer>.*\.experts)\.\d+\.(?P<projection>.+)")


class Base:
    """The known facts about the base model."""

    def __init__(self, heads: Heads, architecture: str = "") -> None:
        self.heads = heads
        """Its tensors; empty if they cannot be read from here."""
        self.architecture = architecture
        """From its config.json; empty if not known."""
        self._by_layer: dict[str, list[str]] = {}
        for name in heads:
            module, _, kind = name.rpartition(".")
            if kind in STORED_AS:
                self._by_layer.setdefault(_from_layer(module), []).append(module)
        self._parts = {part for name in heads for part in name.split(".")}

    def modules(self, name: str) -> list[str]:
        """Return the names of a module in the base: checkpoints have different words before `layers.0`."""
        if any(f"{name}.{kind}" in self.heads for kind in STORED_AS):
            return [name]
        return self._by_layer.get(_from_layer(name), [])

    def shape(self, module: str) -> tuple[int, ...] | None:
        """Return the sizes of a module's weight; None if they are not known or the weight is packed."""
        tensor = self.heads.get(f"{module}.weight")
        return tensor.shape if tensor is not None and tensor.dtype in SAME_SIZES else None

    def has_part(self, leaf: str) -> bool:
        """Return whether the name of any tensor has this part."""
        return leaf in self._parts

    def experts(self, layer: str) -> set[str]:
        """Return the modules of a layer's experts."""
        start = _from_layer(layer) + "."
        return {name for name in self._by_layer if name.startswith(start)}


def _from_layer(module: str) -> str:
    """Return a module's name from `layers.0` on. What is before it differs between checkpoints."""
    found = re.search(r"(?:^|\.)((?:layers|h|blocks)\.\d+\..*)", module)
    return found[1] if found else module.rpartition(".")[2]


def check_lora(config: LoraConfig, tensors: Heads, base: Base, engine: str) -> None:
    """Raise FormatError unless `engine` can load `tensors`, and they fit the known facts about the base."""
    if base.architecture in WITHOUT_LORA and engine == "vllm":
        raise FormatError(
            f"is for {base.architecture}, to which vLLM loads no adapters", "merge it into the base model"
        )
    pairs = _pairs(tensors, base)
    if not pairs:
        raise FormatError("holds no LoRA matrices", "save it again with peft")
    for module, (first, second, embedding) in pairs.items():
        if len(first.shape) != 2 or len(second.shape) != 2:  # noqa: PLR2004
            raise FormatError(f"its {shown(module)} is not a pair of matrices", "save it again with peft")
        ranks = (first.shape[0], second.shape[1])
        if ranks != (config.rank_of(module), config.rank_of(module)):
            what = f"its {shown(module)} has rank {_sizes(ranks)}, its config says {config.rank_of(module)}"
            raise FormatError(what, "save it again with peft, config and weights together")
        _check_embedding(module, base, engine, embedding=embedding)
        trained = (second.shape[0], first.shape[1])
        difference = _difference(module, trained[::-1] if embedding else trained, base)
        if difference:
            named = shown(config.base_model) if config.base_model else "none"
            what = f"was trained on another base model: {difference}"
            raise FormatError(what, f"use the base that adapter_config.json names: {named}")
    _check_experts(config, set(pairs), base)


def adapted_modules(tensors: Heads) -> dict[str, tuple[int, int]]:
    """Return the matrices of the base model that the LoRA tensors change, each as (rows, columns)."""
    return {
        module: (second.shape[0], first.shape[1])
        for module, (first, second, embedding) in _pairs(tensors, Base({})).items()
        if not embedding
    }


def _pairs(tensors: Heads, base: Base) -> dict[str, tuple[Tensor, Tensor, bool]]:
    """Return the two matrices of each module, and whether they belong to an embedding. Raises FormatError."""
    sides: dict[tuple[str, bool], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.endswith(BASE_EMBEDDINGS):
            _check_base_embedding(name, tensor, base)
            continue
        found = NAME.fullmatch(name)
        if found is None or "base_layer" in name:
            what = f"holds more than LoRA matrices ({shown(name.replace('base_model.model.', '', 1))})"
            raise FormatError(what, "merge it into the base model, or train it without")
        if tensor.dtype not in FLOATS:
            raise FormatError(f"holds {shown(name)} as {tensor.dtype}", "save it as float32, bfloat16 or float16")
        if len(found["module"]) > MAX_NAME:
            raise FormatError(f"holds a name of {len(name)} characters", "save it again with peft")
        pair = sides.setdefault((found["module"], found["side"] is None), {})
        side = found["side"] or found["other"]
        if side in pair:
            # The same name with and without the prefix: an engine uses the one that it reads last.
            raise FormatError(f"holds {shown(found['module'])} twice, with other prefixes", "save it again with peft")
        pair[side] = tensor
    for (module, _), pair in sides.items():
        if len(pair) != 2:  # noqa: PLR2004
            raise FormatError(f"holds only one of the two matrices of {shown(module)}", "save it again with peft")
    return {module: (pair["A"], pair["B"], embedding) for (module, embedding), pair in sides.items()}


def _check_base_embedding(name: str, tensor: Tensor, base: Base) -> None:
    """Refuse an adapter with its own embeddings: an engine ignores them and uses those of the base."""
    module = name.replace("base_model.model.", "", 1)[: -len(".base_layer.weight")]
    for each in base.modules(module):
        if base.shape(each) not in (None, tensor.shape):
            what = f"has an embedding of {_sizes(tensor.shape)}, the base has {_sizes(base.shape(each) or ())}"
            raise FormatError(what, "train it without new tokens")


def _check_embedding(module: str, base: Base, engine: str, *, embedding: bool) -> None:
    """Refuse LoRA of embeddings and head if the engine's class of the base model does not support it."""
    leaf = module.rpartition(".")[2]
    if not embedding and leaf in INPUTS:
        raise FormatError(f"its {leaf} has matrices of a linear layer", "save it again with peft")
    if embedding and leaf not in INPUTS:
        raise FormatError(f"its {shown(module)} has matrices of an embedding", "save it again with peft")
    if leaf not in TIED:
        return
    takes = base.architecture in EMBEDDINGS_AND_HEAD or (leaf in INPUTS and base.architecture in EMBEDDINGS)
    if engine == "ollama" or (base.architecture and not takes):
        name = "Ollama" if engine == "ollama" else f"vLLM's {base.architecture}"
        raise FormatError(f"changes {leaf}, which {name} cannot load", f"train it without {leaf}")


def _difference(module: str, trained: tuple[int, ...], base: Base) -> str:
    """Return how the base differs from the one of the training; empty if all known facts match."""
    if not base.heads:
        return ""
    leaf = module.rpartition(".")[2]
    candidates = base.modules(module)
    if not candidates and leaf in TIED:
        candidates = [each for other in TIED for each in base.modules(other)]
        if not candidates:
            return ""
    if not candidates:
        return f"the base has no {shown(module if base.has_part(leaf) else leaf)}"
    _check_prefix(module, candidates)
    shapes = [base.shape(each) for each in candidates]
    if any(shape is None or shape == trained for shape in shapes):
        return ""
    return f"its {shown(module)} is {_sizes(trained)}, the base has {_sizes(shapes[0] or ())}"


def _check_prefix(module: str, candidates: list[str]) -> None:
    """Refuse names that match no module: an engine silently ignores them and answers like the base.

    Different words before `layers.0` may be right, as models with images have several forms of names.
    """
    inner = _from_layer(module)
    prefix = module[: -len(inner)] if module.endswith(inner) else ""
    is_bare = module == inner != module.rpartition(".")[2] and module not in candidates
    if is_bare or any(word in prefix.split(".") for word in WRAPPERS):
        what = f"names {shown(module)}, which is {shown(candidates[0])} in the base: an engine would leave it out"
        raise FormatError(what, "train it on AutoModelForCausalLM, and save it with save_pretrained of peft's model")


def _check_experts(config: LoraConfig, modules: set[str], base: Base) -> None:
    """Refuse LoRA of only some experts of a layer, or with different ranks: vLLM packs all of them into one tensor."""
    layers: dict[str, set[str]] = {}
    ranks: dict[tuple[str, str], set[int]] = {}
    for module in modules:
        found = EXPERT.fullmatch(module)
        if found:
            layers.setdefault(found["layer"], set()).add(_from_layer(module))
            ranks.setdefault((found["layer"], found["projection"]), set()).add(config.rank_of(module))
    for layer, changed in layers.items():
        if base.heads and base.experts(layer) != changed:
            raise FormatError(f"changes some experts of {shown(layer)} only", "train all experts, or none")
    for (layer, projection), each in ranks.items():
        if len(each) > 1:
            raise FormatError(f"has different ranks for {projection} in {shown(layer)}", "train all with one rank")


def _sizes(shape: tuple[int, ...]) -> str:
    return " by ".join(map(str, shape))


def changed_leaves(tensors: Heads) -> Iterator[str]:
    """Yield the last part of the name of each module that the tensors change."""
    for module in _pairs(tensors, Base({})):
        yield module.rpartition(".")[2]
