"""The size of the data volume: set in the stack file, else computed from the model."""

from typing import Any

import pytest

from infra.clouds.sizes import SMALLEST_DATA_GIB, UNKNOWN_MODEL_GIB, data_gib
from infra.config import parse_deployment
from tests.engine.aws_stacks import stack_value

REVISION = "7a" * 20


def hub(repo: str) -> dict[str, Any]:
    return {"kind": "hub", "repo": repo, "revision": REVISION}


def registry(name: str) -> dict[str, Any]:
    return {"kind": "ollama", "name": name, "digest": "a" * 64}


@pytest.mark.parametrize(
    ("engine", "source", "asked", "gib"),
    [
        pytest.param("vllm", hub("Qwen/Qwen2.5-7B-Instruct"), None, 37, id="twice 13 GiB plus free space"),
        pytest.param("vllm", hub("Qwen/Qwen2.5-0.5B-Instruct"), None, SMALLEST_DATA_GIB, id="a small model"),
        pytest.param("vllm", hub("example/mystery"), None, UNKNOWN_MODEL_GIB, id="a name without a size"),
        pytest.param("ollama", registry("qwen2.5:7b"), None, SMALLEST_DATA_GIB, id="a model of Ollama's registry"),
        pytest.param("ollama", registry("qwen2.5:32b"), None, 46, id="a large one"),
        pytest.param("vllm", hub("Qwen/Qwen2.5-7B-Instruct"), 300, 300, id="set in the stack file"),
    ],
)
def test_the_data_volume_holds_two_versions(engine: str, source: dict[str, Any], asked: int | None, gib: int) -> None:
    value = stack_value("type: r5.4xlarge") | {"storage": {"data_gib": asked}}
    value["serving"] = {"engine": engine, "model": {"name": "m", "source": source}}

    assert data_gib(parse_deployment(value, "a test")) == gib
