"""What each GPU cannot compute, also GPUs that no supported cloud offers."""

from dataclasses import replace
from typing import Any

import pytest

from catalog.machines import gpu_models
from infra.capacity.gpu_features import unfit
from serving.spec.models import ServingSpec
from tests.unit.provisioning.records import SERVING

T4 = gpu_models()["T4"]
V100 = replace(T4, name="V100", compute_capability=(7, 0))


def keys(gpu: Any, engine: str = "vllm", **model: Any) -> list[str]:
    values = {**SERVING, "engine": engine, "model": {**SERVING["model"], **model}}
    return [problem.key for problem in unfit(ServingSpec.model_validate(values), gpu, "here", "take another")]


@pytest.mark.parametrize("quantization", ["awq", "gptq", "fp8"])
def test_quantisations_are_for_gpus_that_compute_them(quantization: str) -> None:
    assert keys(V100, quantization=quantization) == ["serving.engine", "serving.model.quantization"]
    assert [keys(gpu, quantization=quantization) for gpu in gpu_models().values()] == [[]] * len(gpu_models())


def test_bfloat16_is_for_ampere_and_later() -> None:
    refused = {name for name, gpu in gpu_models().items() if keys(gpu, dtype="bfloat16")}
    assert refused == {name for name, gpu in gpu_models().items() if not gpu.bf16} == {"T4"}
    assert keys(T4, dtype="auto") == keys(T4, dtype="float16") == []


def test_ollama_may_use_what_vllm_cannot() -> None:
    assert keys(V100, engine="ollama") == []
    (problem,) = unfit(ServingSpec.model_validate(SERVING), V100, "p3.2xlarge", "another machine type")
    assert problem.what == "vllm needs compute capability 7.5, and the V100 of p3.2xlarge has 7.0"
