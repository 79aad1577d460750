"""Adapters that the fetch program refuses before it fetches their weights, against a hub double."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.hub import REPO, REVISION, HubDouble, running_hub
from tests.unit.provisioning.programs.fetch.fetching import run
from tools.tiny_model import make_tiny_model

WEIGHTS = bytes(range(256)) * 4096


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    with running_hub(HubDouble({"config.json": b"{}"})) as double:
        yield double


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "adapters" / "contract@3"


PLAIN = {
    "peft_type": "LORA",
    "r": 16,
    "lora_alpha": 16,
    "target_modules": None,
    "rank_pattern": {"q_proj": 64},
    "base_model_name_or_path": "acme/base-7b",
}
LIMITS: dict[str, tuple[str, dict[str, object], str]] = {
    "rank": ("--max-rank=32", {}, "rank 64 is above vllm.max_lora_rank 32; raise that, or use a smaller adapter"),
    "the limit's rank": ("--max-rank=64", {}, ""),
    "another rank": ("--rank=16", {}, "its rank is 64, not 16 as listed; write rank: 64"),
    "the listed rank": ("--rank=64", {}, ""),
    "base": (
        "--base=acme/other",
        {},
        "was trained on acme/base-7b, not on acme/other; use its own base, or write base: acme/base-7b if that",
    ),
    "its base": ("--base=Acme/Base-7B", {}, ""),
    "a path as base": ("--base=acme/other", {"base_model_name_or_path": "/home/me/base"}, ""),
    "another module": (
        "--target-modules=k_proj,q_proj",
        {"target_modules": ["q_proj", "model.v_proj"]},
        "its target modules are q_proj, v_proj, not k_proj, q_proj as listed",
    ),
    "the listed modules": ("--target-modules=q_proj,v_proj", {"target_modules": ["v_proj", "model.q_proj"]}, ""),
    "a pattern": ("--target-modules=q_proj", {"target_modules": "all-linear"}, ""),
    "DoRA": (
        "--rank=64",
        {"use_dora": True},
        "holds more than LoRA matrices (DoRA); merge it into the base model, or ",
    ),
    "bias": ("--rank=64", {"bias": "all"}, "holds more than LoRA matrices (bias all); merge it"),
    "whole modules": ("--rank=64", {"modules_to_save": ["lm_head"]}, "holds more than LoRA matrices (lm_head); merge"),
    "another kind": ("--rank=64", {"peft_type": "IA3"}, "adapter_config.json of acme/base is not of a LoRA adapter"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_an_adapter_that_does_not_fit_is_refused_before_its_weights_are_fetched(folder: Path, name: str) -> None:
    """The first sign was an engine that did not start."""
    limit, changed, words = LIMITS[name]
    config = PLAIN | changed
    files = {"adapter_config.json": json.dumps(config).encode(), "adapter_model.safetensors": WEIGHTS}
    with running_hub(HubDouble(files, large=("adapter_model.safetensors",))) as hub:
        status, said = run(hub, folder, limit)
        fetched = [name for name, _ in hub.downloads]
    assert status == (1 if words else 0)
    assert words in said
    assert len(said.splitlines()) == status
    assert ("adapter_model.safetensors" in fetched) == (not words)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("exaone", f"{REPO}: was trained on another base model: the base has no "),
        (
            "wider",
            f"{REPO}: was trained on another base model: its model.layers.0.self_attn.q_proj is 128 by 128, the ba",
        ),
        ("llama", ""),
        ("not here yet", ""),
    ],
)
def test_an_adapter_is_compared_with_the_base_model_on_the_host(
    folder: Path, tmp_path: Path, base: str, words: str
) -> None:
    """Whatever its config says: a copy in a bucket names no repository, and only the host may read both."""
    llama = make_tiny_model("llama", tmp_path / "llama")
    here = {"llama": llama.base, "exaone": make_tiny_model("exaone", tmp_path / "exaone").base, "wider": tmp_path / "w"}
    write_wider(here["wider"])
    files = {each.name: each.read_bytes() for each in llama.adapter("a").iterdir()}
    with running_hub(HubDouble(files, large=("adapter_model.safetensors",))) as hub:
        status, said = run(hub, folder, f"--base-folder={here.get(base, tmp_path / 'none')}")
    assert (status, said[: len(words)]) == (1 if words else 0, words)
    assert (folder / "adapter_model.safetensors").exists() == (not words)


def write_wider(folder: Path) -> None:
    """Write a base with another size; only its header is read."""
    entry = {"dtype": "F32", "shape": [256, 256], "data_offsets": [0, 262144]}
    head = json.dumps({"model.layers.0.self_attn.q_proj.weight": entry}).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head)


def test_a_later_change_of_the_listed_values_is_refused_even_with_complete_files(folder: Path) -> None:
    files = {"adapter_config.json": json.dumps(PLAIN).encode(), "adapter_model.safetensors": WEIGHTS}
    with running_hub(HubDouble(files)) as hub:
        assert run(hub, folder, "--rank=64") == (0, "")
        assert run(hub, folder, "--rank=64", "--check") == (0, "")
        for more in (("--check",), ()):
            assert run(hub, folder, "--rank=8", *more)[0] == 1


def test_the_missing_file_of_a_repository_without_an_adapter_is_named(hub: HubDouble, folder: Path) -> None:
    status, said = run(hub, folder, "--max-rank=16")
    assert (status, said.partition(";")[0]) == (1, f"{REPO} has no adapter_config.json at commit {REVISION}")


def test_an_interrupted_config_is_fetched_again(hub: HubDouble, folder: Path) -> None:
    """It stopped the fetch: IncompleteRead(5 bytes read, 25 more expected)."""
    hub.files["adapter_config.json"] = json.dumps(PLAIN).encode()
    hub.cut_after["adapter_config.json"] = 5
    assert run(hub, folder, "--max-rank=64") == (0, "")
