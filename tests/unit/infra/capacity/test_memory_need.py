"""Whether a model fits on a machine: the parts of the sum, and the limit."""

from pathlib import Path
from typing import Any

import pytest

from catalog.machines import Machine, find_machine
from core.reading.config_keys import bare, literals
from infra.capacity.memory_need import (
    OLLAMA_BYTES,
    SYSTEM_GIB,
    Need,
    cache_gib,
    disk_gib,
    need,
    need_in_ram,
    weights_gib,
)
from serving.spec.models import ServingSpec
from serving.spec.ollama import OllamaSpec

REVISION = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "a" * 64
GIB = 2**30


def vllm(repo: str, *, context: int = 4096, **model: Any) -> ServingSpec:
    source = {"kind": "hub", "repo": repo, "revision": REVISION}
    return ServingSpec.model_validate({"model": {"name": "m", "source": source, "context_tokens": context, **model}})


def ollama(source: dict[str, Any], *, context: int = 4096, **options: Any) -> ServingSpec:
    model = {"name": "m", "source": source, "context_tokens": context}
    return ServingSpec.model_validate({"engine": "ollama", "model": model, "ollama": options})


def registry(name: str) -> dict[str, Any]:
    return {"kind": "ollama", "name": name, "digest": DIGEST}


def hub(repo: str) -> dict[str, Any]:
    return {"kind": "hub", "repo": repo, "revision": REVISION}


def machine(machine_type: str, cloud: str = "aws") -> Machine:
    row = find_machine(cloud, machine_type)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("serving", "weights"),
    [
        pytest.param(vllm("a/Qwen2.5-7B"), 13.0, id="vLLM, 16 bits"),
        pytest.param(vllm("a/Qwen2.5-7B", dtype="float32"), 26.1, id="vLLM, float32"),
        pytest.param(vllm("a/Qwen2.5-7B", quantization="fp8"), 6.8, id="vLLM, fp8 made on the fly"),
        pytest.param(vllm("a/Qwen2.5-7B-AWQ", quantization="awq"), 3.9, id="vLLM, AWQ"),
        pytest.param(vllm("a/mystery"), None, id="vLLM, a name without a size"),
        pytest.param(ollama(registry("llama3.1:8b")), 4.5, id="Ollama's default"),
        pytest.param(ollama(registry("llama3.1:8b-instruct-q8_0")), 7.9, id="Ollama, q8_0 in the tag"),
        pytest.param(ollama(registry("acme/Qwen2.5-7B-GGUF:Q4_K_S")), 3.7, id="Ollama, the hub's GGUF"),
        pytest.param(
            ollama(registry("acme/Qwen2.5-7B-GGUF:IQ2_XS")), None, id="Ollama, a quantisation not in the table"
        ),
        pytest.param(ollama(registry("llama3:latest")), None, id="Ollama, a tag without a size"),
        pytest.param(ollama(hub("a/Qwen2.5-7B")), 13.0, id="Ollama, safetensors as they are"),
        pytest.param(ollama(hub("a/Qwen2.5-7B"), quantize="q4_k_m"), 3.9, id="Ollama, safetensors quantised"),
    ],
)
def test_weights_in_memory(serving: ServingSpec, weights: float | None) -> None:
    assert weights_gib(serving) == (None if weights is None else pytest.approx(weights, abs=0.06))


def test_every_quantisation_that_ollama_makes_has_a_size() -> None:
    offered = set(literals(bare(OllamaSpec.model_fields["quantize"].annotation)))

    assert offered
    assert offered <= OLLAMA_BYTES.keys()


def test_a_local_gguf_has_the_size_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.truncate(3 * GIB)  # sparse: takes no room

    serving = ollama({"kind": "gguf", "path": str(path), "sha256": DIGEST})

    assert weights_gib(serving) == disk_gib(serving) == 3.0


def test_the_size_on_disk_is_that_of_the_published_weights() -> None:
    """A host fetches the whole weights before it quantises them."""
    assert disk_gib(ollama(hub("a/Qwen2.5-7B"), quantize="q4_k_m")) == pytest.approx(13.0, abs=0.06)
    assert disk_gib(ollama(registry("llama3.1:8b"))) == pytest.approx(4.5, abs=0.06)


@pytest.mark.parametrize(
    ("serving", "cache"),
    [
        pytest.param(vllm("meta-llama/Llama-3.1-8B-Instruct", context=8192), 1.0, id="32 layers, 8 heads of 128"),
        pytest.param(vllm("LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct", accept_licence="exaone-1.1-nc"), 0.29, id="head 80"),
        pytest.param(ollama(registry("llama3.1:8b"), context=8192), 1.0, id="the registry's way to write a name"),
        pytest.param(ollama(registry("llama3.1:8b"), context=8192, num_parallel=4), 4.0, id="four requests at once"),
        pytest.param(vllm("a/Unheard-7B"), 0.0, id="a shape that nobody knows counts nothing"),
    ],
)
def test_cache_of_full_length(serving: ServingSpec, cache: float) -> None:
    assert cache_gib(serving) == pytest.approx(cache, abs=0.01)


@pytest.mark.parametrize(
    ("serving", "machine_type", "fits"),
    [
        pytest.param(vllm("mistralai/Mistral-7B-Instruct-v0.3"), "t2.large", False, id="7B on t2.large"),
        pytest.param(vllm("mistralai/Mistral-7B-Instruct-v0.3"), "r5.4xlarge", True, id="7B on r5.4xlarge"),
        pytest.param(vllm("a/Qwen2.5-14B"), "g4dn.xlarge", False, id="14B in 16 bits on a T4"),
        pytest.param(vllm("a/Qwen2.5-7B-AWQ", quantization="awq"), "g4dn.xlarge", True, id="7B AWQ on a T4"),
        pytest.param(vllm("a/Qwen2.5-72B"), "g5.12xlarge", False, id="72B on four A10G"),
        pytest.param(ollama(registry("llama3.1:8b")), "t2.large", True, id="8B in 4 bits on t2.large"),
        pytest.param(ollama(registry("llama3.1:8b-fp16")), "t2.large", False, id="8B in 16 bits on t2.large"),
        pytest.param(ollama(registry("llama3.1:70b")), "g6.xlarge", False, id="70B in 4 bits on an L4"),
    ],
)
def test_models_that_do_not_fit_are_known(serving: ServingSpec, machine_type: str, fits: bool) -> None:
    assert need(serving, machine(machine_type)).fits is fits


def test_the_sum_is_printed_part_by_part() -> None:
    reported = str(need(ollama(registry("llama3.1:70b"), context=8192), machine("g6.xlarge")))

    assert reported == (
        "39.1 GiB of weights + 2.5 GiB of KV cache + 0.8 GiB for the engine are 42.4 GiB, more than the 22.35 GiB of "
        "VRAM of g6.xlarge"
    )


def test_unknown_parts_are_left_out_of_the_sum() -> None:
    reported = str(need_in_ram(ollama(registry("llama3:latest")), 1.0, "machine.memory_gib"))

    assert reported == "1.5 GiB for the system are 1.5 GiB, more than the 1 GiB of machine.memory_gib"


def test_vllm_leaves_its_share_of_the_gpu_free() -> None:
    serving = vllm("a/Qwen2.5-7B")
    half = serving.model_copy(update={"vllm": serving.vllm.model_copy(update={"gpu_memory_fraction": 0.5})})

    assert need(serving, machine("g5.xlarge")).fits
    assert not need(half, machine("g5.xlarge")).fits


def test_what_fits_exactly_fits() -> None:
    assert Need(weights=6.5, cache=0.0, overhead=SYSTEM_GIB, has=8.0, words="").fits
