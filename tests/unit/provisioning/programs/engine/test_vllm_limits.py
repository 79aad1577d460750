"""What the request limits plugin counts. tests/machine/test_request_limits.py proves that vLLM obeys it."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT
from provisioning.roles.engine import request_limits
from serving.spec.models import ServingSpec

PROGRAM = CHECKOUT / "provisioning" / "programs" / "engine" / "vllm_limits.py"


@pytest.fixture(scope="module")
def limits() -> ModuleType:
    """The plugin, which imports vLLM only when it is installed."""
    spec = importlib.util.spec_from_file_location("vllm_limits", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("prompt", "n", "count"),
    [
        ("one", 1, 1),
        ("one", 5, 5),
        (["one", "two"], 3, 6),
        (["one"] * 10_000, 1, 10_000),
        ([1, 2, 3], 2, 2),
        ([[1], [2]], 2, 4),
        ([], 1, 1),
        (None, None, 1),
    ],
)
def test_answers_are_prompts_times_n(limits: ModuleType, prompt: object, n: object, count: int) -> None:
    assert limits.answers(prompt, n) == count


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({}, 0),
        ([None] * 9, 0),
        ({"messages": None, "prompt": "text", "tools": "none"}, 0),
        ({"messages": [{}] * 3}, 3),
        ({"messages": [{"content": [{"type": "text", "text": "a"}] * 4}] * 2}, 10),
        ({"messages": [{"role": "assistant", "tool_calls": [None] * 5}]}, 6),
        ({"messages": [], "tools": [{"function": {"parameters": {"enum": ["a"] * 9}}}] * 2}, 2),
        ({"prompt": [1] * 9}, 0),
        ({"prompt": [[1] * 9, [2] * 9]}, 2),
        ({"prompt": [1] * 9 + [None]}, 10),
        ({"messages": [{}], "system": [{}] * 4}, 5),
        ({"messages": [{"content": [{"type": "tool_result", "content": [{}] * 3}]}]}, 5),
        ({"stop": ["a"] * 9}, 0),
        ({"input": "text", "include": ["x"] * 3}, 3),
        ({"input": [{"role": "user", "content": [{}] * 3}, {"type": "function_call_output", "output": [{}] * 2}]}, 7),
    ],
)
def test_items_that_are_validated_one_by_one_are_counted(limits: ModuleType, body: Any, count: int) -> None:
    assert limits.items(body) == count


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"regex": "[ab]"}, 4),
        ({"json": {"a": 1}}, 8),
        ({"json": '{"a": 1}'}, 8),
        ({"choice": ["a", "b"]}, 10),
        ({"grammar": "ä"}, 2),
        ({"structural_tag": "{}"}, 2),
        ({"json_object": True}, 0),
        ({"regex": "\ud800"}, 1),
    ],
)
def test_a_constraint_is_as_large_as_its_text(limits: ModuleType, given: dict[str, Any], size: int) -> None:
    names = ("json", "regex", "choice", "grammar", "structural_tag", "json_object")
    assert limits.constraint_bytes(SimpleNamespace(**{**dict.fromkeys(names), **given})) == size


@pytest.mark.parametrize(
    ("adapters", "device", "prompt_logprobs", "ends"),
    [
        (True, "cpu", 0, True),
        (True, "cpu", 5, True),
        (True, "cpu", None, False),
        (False, "cpu", 5, False),
        (True, "cuda", 5, False),
    ],
)
def test_log_probabilities_of_a_prompt_are_refused_if_they_crash_the_engine(
    limits: ModuleType, adapters: bool, device: str, prompt_logprobs: int | None, ends: bool
) -> None:
    config = SimpleNamespace(
        lora_config=SimpleNamespace() if adapters else None, device_config=SimpleNamespace(device_type=device)
    )
    params = SimpleNamespace(prompt_logprobs=prompt_logprobs)
    assert limits.prompt_logprobs_end_the_engine(config, params) is ends


@pytest.mark.parametrize(
    ("others", "plugins", "path"),
    [
        ({}, "llm_deploy_limits,llm_deploy_responses,llm_deploy_tokens", request_limits.PLUGIN_DIR),
        (
            {"VLLM_PLUGINS": "llm_deploy_adapters", "PYTHONPATH": "/a"},
            "llm_deploy_adapters,llm_deploy_limits,llm_deploy_responses,llm_deploy_tokens",
            f"/a:{request_limits.PLUGIN_DIR}",
        ),
    ],
)
def test_vllm_loads_both_beside_the_one_for_adapters(others: dict[str, str], plugins: str, path: str) -> None:
    limits = {"max_answers": 5, "max_constraint_kib": 2}
    model = {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}}
    serving = ServingSpec.model_validate({"model": model, "vllm": limits})
    seen = request_limits.limits_environment(serving, others)
    assert (seen["VLLM_PLUGINS"], seen["PYTHONPATH"]) == (plugins, path)
    assert (seen["LLM_DEPLOY_MAX_ANSWERS"], seen["LLM_DEPLOY_MAX_CONSTRAINT_BYTES"]) == ("5", "2048")
    assert seen["LLM_DEPLOY_BASE_MODEL"] == "tiny"


@pytest.mark.parametrize(("n", "parameter"), [(1000, "n"), (64, "prompt"), (1, "prompt"), (None, "prompt")])
def test_the_parameter_that_exceeds_the_limit_is_named(limits: ModuleType, n: object, parameter: str) -> None:
    """The error for n=1000 with one prompt named `prompt`."""
    assert limits.too_many(n, 64) == parameter


def test_starlettes_errors_are_answered_by_vllms_handler(limits: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gzip body without Content-Encoding got the answer `{"detail": ...}`."""

    class StarletteError(Exception):
        """FastAPI's exception for an unreadable body."""

    class FastApiError(StarletteError):
        """The exception that vLLM registers its handler for."""

    register = SimpleNamespace(HTTPException=FastApiError)
    package: Any = ModuleType("vllm.entrypoints.serve.exception_handling")
    package.register = register
    starlette: Any = ModuleType("starlette.exceptions")
    starlette.HTTPException = StarletteError
    for name in ("vllm", "vllm.entrypoints", "vllm.entrypoints.serve", "starlette"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.serve.exception_handling", package)
    monkeypatch.setitem(sys.modules, "starlette.exceptions", starlette)
    limits._answer_in_shape()
    assert register.HTTPException is StarletteError
