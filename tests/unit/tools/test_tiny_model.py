"""The tiny models: reproducible bytes, files as on a hub, adapters that fit their base."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest

from tools.tiny_model import ADAPTERS, LORA_RANK, TinyModel, make_tiny_model
from tools.tiny_model.architectures import ARCHITECTURES, Shape

SHAPES: tuple[Shape, ...] = get_args(Shape)

ADAPTER_SHA256 = {
    ("llama", "a"): "65d71186aa54ee6964cba8e4867f35532cbc4272242ae94982de042e6bf2e0aa",
    ("llama", "b"): "072dd52e23408261205c0335a62845e5cc071f9496e9411f02a5373b88586761",
    ("exaone", "a"): "c75311685988dddaa2be57447e6b2887d7f7d63bc527a1cce3c1007c5efe0d4b",
    ("exaone", "b"): "7dd28dcc3d958267197a947adbdde75fd6851c4c741cfe705ec5377b7070d624",
}
"""Stack files may pin these, so a change of the recipe must not change them by accident."""


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    name: Shape = request.param
    return name


@pytest.fixture(scope="module")
def model(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return make_tiny_model(shape, tmp_path_factory.mktemp(shape))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file without its metadata, and the number of bytes after it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8 : 8 + length])
    assert tensors.pop("__metadata__") == {"format": "pt"}
    return tensors, len(content) - 8 - length


def test_the_bytes_are_reproducible(shape: Shape, model: TinyModel, tmp_path: Path) -> None:
    other = make_tiny_model(shape, tmp_path)
    names = sorted(str(path.relative_to(model.root)) for path in model.root.rglob("*") if path.is_file())
    assert len(names) == 9
    assert {name: sha256(other.root / name) for name in names} == {name: sha256(model.root / name) for name in names}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapter_has_the_pinned_checksum(shape: Shape, adapter: str, model: TinyModel) -> None:
    assert sha256(model.adapter(adapter) / "adapter_model.safetensors") == ADAPTER_SHA256[shape, adapter]


def test_it_is_made_once(shape: Shape, model: TinyModel) -> None:
    before = model.root.stat().st_mtime_ns
    assert make_tiny_model(shape, model.root.parent) == model
    assert model.root.stat().st_mtime_ns == before
    assert [path.name for path in model.root.parent.iterdir()] == [model.root.name]


@pytest.mark.parametrize("file", ["base/model.safetensors", "adapter-a/adapter_model.safetensors"])
def test_tensors_fill_their_file_without_gaps(model: TinyModel, file: str) -> None:
    tensors, length = header(model.root / file)
    end = 0
    for tensor in tensors.values():
        start, stop = tensor["data_offsets"]
        assert start == end
        assert stop - start == 4 * math.prod(tensor["shape"])
        end = stop
    assert end == length


def test_adapter_matrices_fit_the_matrices_of_the_base(model: TinyModel) -> None:
    base, _ = header(model.base / "model.safetensors")
    lora, _ = header(model.adapter("a") / "adapter_model.safetensors")
    targets = set(json.loads((model.adapter("a") / "adapter_config.json").read_text())["target_modules"])
    matrices = {name.removesuffix(".weight"): tensor["shape"] for name, tensor in base.items()}
    adapted = {name: size for name, size in matrices.items() if name.rpartition(".")[2] in targets}
    assert len(adapted) == 7 * 2
    assert len(lora) == 2 * len(adapted)
    for name, (rows, columns) in adapted.items():
        assert lora[f"base_model.model.{name}.lora_A.weight"]["shape"] == [LORA_RANK, columns]
        assert lora[f"base_model.model.{name}.lora_B.weight"]["shape"] == [rows, LORA_RANK]


def test_every_merge_joins_two_tokens_into_one(model: TinyModel) -> None:
    tokenizer = json.loads((model.base / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    assert len(set(tokenizer["vocab"].values())) == len(tokenizer["vocab"])
    assert tokenizer["merges"]
    assert all({left, right, left + right} <= set(tokenizer["vocab"]) for left, right in tokenizer["merges"])


def test_exaone_has_the_real_head_size() -> None:
    assert ARCHITECTURES["exaone"].head_size == 80
