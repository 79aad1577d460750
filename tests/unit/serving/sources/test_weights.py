"""Sizes in the names of models."""

import pytest

from serving.sources.weights import loaded_gib, parameters_billion, stored_gib
from serving.spec.fields import HubSource, ModelSpec, TinySource

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("repo", "billion"),
    [
        ("LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct", 2.4),
        ("LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct-AWQ", 7.8),
        ("LGAI-EXAONE/EXAONE-4.0-32B-FP8", 32),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7),
        ("mistralai/Mixtral-8x7B-v0.1", 56),
        ("Qwen/Qwen3-30B-A3B", 30),
        ("openai/gpt-oss-20b", 20),
        ("google/gemma-2b", 2),
        ("example/mystery", None),
        ("example/phi-4", None),
        ("example/4bits", None),
    ],
)
def test_parameters_are_read_from_the_name(repo: str, billion: float | None) -> None:
    """A name without a size gives None, not a guess."""
    assert parameters_billion(repo) == billion


def _model(repo: str, **fields: str) -> ModelSpec:
    source = HubSource(kind="hub", repo=repo, revision=REVISION)
    return ModelSpec.model_validate({"name": "m", "source": source, **fields})


@pytest.mark.parametrize(
    ("model", "stored", "loaded"),
    [
        (_model("a/m-7B"), 13.0, 13.0),
        (_model("a/m-7B", dtype="float32"), 13.0, 26.1),
        (_model("a/m-7B", quantization="fp8"), 13.0, 6.8),
        (_model("a/m-7B-FP8"), 6.8, 6.8),
        (_model("a/m-7B-AWQ", quantization="awq"), 3.9, 3.9),
        (_model("a/mystery"), None, None),
        (ModelSpec(name="m", source=TinySource(kind="tiny", name="llama")), None, None),
    ],
    ids=lambda value: (
        value.source.kind + " " + getattr(value.source, "repo", "") if isinstance(value, ModelSpec) else ""
    ),
)
def test_sizes_on_disk_and_in_memory(model: ModelSpec, stored: float | None, loaded: float | None) -> None:
    """GiB: 7 billion parameters of two bytes are 13.04."""
    assert stored_gib(model) == (stored if stored is None else pytest.approx(stored, abs=0.06))
    assert loaded_gib(model) == (loaded if loaded is None else pytest.approx(loaded, abs=0.06))
