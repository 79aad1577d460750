"""Adapters that are refused before anything is sent, with the errors."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from serving.adapters.checks import check_adapter, read_heads
from serving.formats.lora_tensors import adapted_modules
from serving.spec.fields import AdapterSpec
from tools.tiny_model import TinyModel, make_tiny_model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def exaone(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return make_tiny_model("exaone", tmp_path_factory.mktemp("exaone"))


@pytest.fixture
def folder(llama: TinyModel, tmp_path: Path) -> Path:
    """Return a complete adapter that a test may break."""
    return Path(shutil.copytree(llama.adapter("a"), tmp_path / "adapter"))


def adapter(**changed: Any) -> AdapterSpec:
    source = {"kind": "folder", "path": "/somewhere"}
    return AdapterSpec.model_validate({"name": "contract", "source": source, **changed})


def check(
    spec: AdapterSpec, folder: Path, base: Path | None, *, repo: str | None = None, rank: int | None = 16
) -> None:
    check_adapter(spec, folder, base=base, base_repo=repo, max_rank=rank, where="adapters[0]")


def edit(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.mark.parametrize("name", ["a", "b"])
def test_tiny_adapters_fit_their_base(llama: TinyModel, exaone: TinyModel, name: str) -> None:
    for model in (llama, exaone):
        check(adapter(), model.adapter(name), model.base)


def test_an_adapter_of_a_base_from_elsewhere_is_left_to_the_engine(folder: Path) -> None:
    check(adapter(), folder, None)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda path: (path / "adapter_config.json").unlink(), "has no adapter_config.json"),
    "config is not JSON": (lambda path: (path / "adapter_config.json").write_text("{"), "is not JSON"),
    "config of another kind": (lambda path: edit(path / "adapter_config.json", peft_type="IA3"), "not of a LoRA"),
    "no weights": (lambda path: (path / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
    "rank above the limit": (lambda path: edit(path / "adapter_config.json", r=64), "above vllm.max_lora_rank 16"),
    "one module's rank above the limit": (
        lambda path: edit(path / "adapter_config.json", rank_pattern={"q_proj": 32}),
        "rank 32",
    ),
    "another rank than the spec's": (lambda path: edit(path / "adapter_config.json", r=4), "8 is not the 4"),
    "modules trained whole": (
        lambda path: edit(path / "adapter_config.json", modules_to_save=["lm_head"]),
        "more than LoRA matrices (lm_head)",
    ),
    "DoRA": (lambda path: edit(path / "adapter_config.json", use_dora=True), "more than LoRA matrices (DoRA)"),
    "bias": (lambda path: edit(path / "adapter_config.json", bias="all"), "more than LoRA matrices (bias all)"),
    "weights cut off": (
        lambda path: (path / "adapter_model.safetensors").write_bytes(
            (path / "adapter_model.safetensors").read_bytes()[:5000]
        ),
        "not a whole safetensors file",
    ),
    "a Git LFS pointer": (
        lambda path: (path / "adapter_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "a Git LFS pointer",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_adapter_is_refused(name: str, folder: Path, llama: TinyModel) -> None:
    do_break, words = BROKEN[name]
    do_break(folder)
    with pytest.raises(ConfigError) as caught:
        check(adapter(), folder, llama.base)
    assert words in str(caught.value)


def test_a_base_with_other_modules_is_refused(llama: TinyModel, exaone: TinyModel) -> None:
    with pytest.raises(ConfigError, match=r"another base model: .* has no (transformer.h.0|out_proj|c_fc_0)"):
        check(adapter(), exaone.adapter("a"), llama.base)


def test_a_base_with_other_sizes_is_refused(llama: TinyModel, tmp_path: Path) -> None:
    tensors = {
        "model.layers.0.self_attn.q_proj.weight": {"dtype": "F32", "shape": [64, 64], "data_offsets": [0, 16384]}
    }
    header = json.dumps(tensors).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16384))
    with pytest.raises(ConfigError, match=r"q_proj is 128 by 128, the base has 64 by 64"):
        check(adapter(), llama.adapter("a"), tmp_path)


@pytest.mark.parametrize(
    ("written", "refused"),
    [("Acme/Base-7B", False), ("acme/base-7b", False), ("acme/other-7b", True), ("/home/me/base", False), ("", False)],
)
def test_repositories_are_compared_when_both_are_known(folder: Path, written: str, refused: bool) -> None:
    edit(folder / "adapter_config.json", base_model_name_or_path=written)
    if refused:
        with pytest.raises(ConfigError, match="was trained on acme/other-7b, not on acme/base-7b"):
            check(adapter(), folder, None, repo="acme/base-7b")
    else:
        check(adapter(), folder, None, repo="acme/base-7b")


def test_the_pinned_checksum_decides(folder: Path, llama: TinyModel) -> None:
    sha256 = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    check(adapter(sha256=sha256), folder, llama.base)
    with pytest.raises(ConfigError, match=f"SHA-256 {sha256}, not the pinned one"):
        check(adapter(sha256="0" * 64), folder, llama.base)


def test_engines_without_a_limit_take_any_rank(folder: Path, llama: TinyModel) -> None:
    spec = adapter(rank=64)
    edit(folder / "adapter_config.json", rank_pattern={"k_proj_of_another_model": 64})
    check(spec, folder, llama.base, rank=None)


def test_adapted_matrices_are_named_as_in_the_base(llama: TinyModel) -> None:
    shapes = adapted_modules(read_heads(llama.adapter("b") / "adapter_model.safetensors"))
    assert shapes["model.layers.1.mlp.down_proj"] == (128, 256)
    assert len(shapes) == 14
