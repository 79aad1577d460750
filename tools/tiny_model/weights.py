"""Generates random weights of a model and its adapters, and writes safetensors files."""

import json
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tools.tiny_model.architectures import LAYERS, Architecture
from tools.tiny_model.tokenizer import WORDS

LORA_RANK = 8


@dataclass(frozen=True)
class Tensor:
    """A matrix or vector of 32-bit floats."""

    name: str
    shape: tuple[int, ...]
    values: "array[float]"


def _random_tensor(name: str, shape: tuple[int, int], spread: float, random: Random) -> Tensor:
    """Return a matrix of uniform random numbers.

    A normal distribution would need logarithm and cosine, whose last bit differs between machines.
    """
    width, draw = 2 * spread, random.random
    return Tensor(name, shape, array("f", [(draw() - 0.5) * width for _ in range(shape[0] * shape[1])]))


def base_tensors(architecture: Architecture, vocabulary: dict[str, int], random: Random) -> Iterator[Tensor]:
    """Yield all tensors of a base model."""
    hidden = architecture.hidden
    yield _random_tensor(f"{architecture.embed}.weight", (len(vocabulary), hidden), 1.0, random)
    for number in range(LAYERS):
        prefix = architecture.layer.format(number)
        for matrix, (rows, columns) in architecture.projections.items():
            yield _random_tensor(f"{prefix}.{matrix}.weight", (rows, columns), 3.0 * columns**-0.5, random)
        for norm in architecture.norms:
            yield Tensor(f"{prefix}.{norm}.weight", (hidden,), array("f", [1.0]) * hidden)
    yield Tensor(f"{architecture.final_norm}.weight", (hidden,), array("f", [1.0]) * hidden)
    yield _head(vocabulary, hidden, random)


def _head(vocabulary: dict[str, int], hidden: int, random: Random) -> Tensor:
    """Return the output matrix: only whole words are likely, never the end token, so answers have an exact length."""
    words = {vocabulary[f"Ġ{word}"] for word in WORDS.split()}
    spread, silence = 8.0 * hidden**-0.5, array("f", [0.0]) * hidden
    values = array("f")
    for number in range(len(vocabulary)):
        row = _random_tensor("", (1, hidden), spread, random).values if number in words else silence
        values.extend(row)
    return Tensor("lm_head.weight", (len(vocabulary), hidden), values)


def adapter_tensors(architecture: Architecture, random: Random) -> Iterator[Tensor]:
    """Yield the tensors of an adapter of all matrices, so strong that its answers differ from the base model's."""
    for number in range(LAYERS):
        for matrix, (rows, columns) in architecture.projections.items():
            prefix = f"base_model.model.{architecture.layer.format(number)}.{matrix}"
            yield _random_tensor(f"{prefix}.lora_A.weight", (LORA_RANK, columns), 1.0 * columns**-0.5, random)
            yield _random_tensor(f"{prefix}.lora_B.weight", (rows, LORA_RANK), 1.0, random)


def write_tensors(path: Path, tensors: Iterator[Tensor]) -> None:
    """Write a safetensors file: length of the header, header as JSON, then the numbers, little-endian."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = bytearray()
    for tensor in tensors:
        if sys.byteorder == "big":
            tensor.values.byteswap()
        start = len(numbers)
        numbers += tensor.values.tobytes()
        header[tensor.name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, len(numbers)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
