"""How vLLM is started for which spec and processor."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving.engines.vllm import ADAPTERS_IN_MEMORY, EnginePaths, Launch, Processor, vllm_launch
from serving.spec.models import ServingSpec

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases" / "vllm.json").read_text())


def spec(values: dict[str, Any]) -> ServingSpec:
    model = {"name": "base", "source": {"kind": "tiny", "name": "llama"}, **values.get("model", {})}
    source = {"kind": "tiny", "name": "llama", "adapter": "a"}
    adapters = [{"source": source, **adapter} for adapter in values.get("adapters", ())]
    return ServingSpec.model_validate({**values, "model": model, "adapters": adapters})


def launch(values: dict[str, Any], **processor: Any) -> Launch:
    wanted = spec(values)
    paths = EnginePaths(python="/venv/bin/python", model="/models/base", cache="/cache")
    return vllm_launch(wanted, Processor(**processor), paths)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_options_follow_from_spec_and_processor(case: dict[str, Any]) -> None:
    made = launch(case["spec"], **case["processor"])
    line = " ".join(made.argv) + " "
    assert [option for option in case["has"] if f" {option} " not in line] == []
    assert [option for option in case["lacks"] if f" {option} " in line] == []
    assert {name: made.environment.get(name) for name in case["environment"]} == case["environment"]


@pytest.mark.parametrize("gpu_count", [0, 1])
def test_no_request_goes_to_the_hub_and_no_statistics_are_sent(gpu_count: int) -> None:
    made = launch({}, cpu_count=2, gpu_count=gpu_count)
    assert made.environment["HF_HUB_OFFLINE"] == "1"
    assert made.environment["VLLM_NO_USAGE_STATS"] == "1"
    assert made.argv[made.argv.index("--host") + 1] == "127.0.0.1"


def test_no_key_is_on_the_command_line_or_in_the_environment() -> None:
    made = launch({}, cpu_count=2)
    assert not any("api-key" in word.lower() for word in made.argv)
    assert not any("KEY" in name for name in made.environment)


def test_what_is_written_lies_in_the_cache_folder() -> None:
    places = {name: value for name, value in launch({}, cpu_count=2).environment.items() if value.startswith("/")}
    assert {"HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR"} <= set(places)
    assert all(value == "/cache" or value.startswith("/cache/") for value in places.values())


def test_a_start_is_the_same_whichever_versions_there_are() -> None:
    """Else a version more would restart the engine."""
    one, many = (
        launch({"adapters": [{"name": f"adapter-{number}"} for number in range(count)]}, cpu_count=2)
        for count in (1, 20)
    )
    assert one == many
    assert one.argv[one.argv.index("--max-cpu-loras") + 1] == str(ADAPTERS_IN_MEMORY)
