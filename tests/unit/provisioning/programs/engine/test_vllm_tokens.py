"""The lines about tokens. tests/machine/test_vllm.py proves that vLLM writes them, one for each finished request."""

import importlib.util
import json
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT

PROGRAM = CHECKOUT / "provisioning" / "programs" / "engine" / "vllm_tokens.py"


@pytest.fixture(scope="module")
def tokens() -> ModuleType:
    """The plugin, which imports vLLM only when it is installed."""
    spec = importlib.util.spec_from_file_location("vllm_tokens", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finished(**changed: Any) -> SimpleNamespace:
    """Return a finished request as vLLM's output processor has it."""
    values = {
        "external_req_id": "chatcmpl-one",
        "lora_name": None,
        "prompt_len": 7,
        "request_index": 0,
        "num_cached_tokens": 4,
        "stats": SimpleNamespace(num_generation_tokens=16),
        "prompt": "the-content-of-a-prompt",
    }
    return SimpleNamespace(**{**values, **changed})


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the base model": ({}, {"model": "tiny", "prompt_tokens": 7, "answer_tokens": 16, "cached_tokens": 4}),
    "an adapter": ({"lora_name": "contract@3"}, {"model": "contract@3"}),
    "a further answer counts its prompt only once": (
        {"request_index": 1},
        {"prompt_tokens": 0, "answer_tokens": 16, "cached_tokens": 0},
    ),
    "a quote in a name": ({"lora_name": 'a"b'}, {"model": 'a"b'}),
}


@pytest.mark.parametrize(("changed", "expected"), CASES.values(), ids=CASES)
def test_a_finished_request_is_one_line_of_json(
    tokens: ModuleType, changed: dict[str, Any], expected: dict[str, Any]
) -> None:
    line = tokens.line(finished(**changed), "tiny")
    assert line.count("\n") == 1
    assert "content" not in line
    seen = json.loads(line)
    assert {name: seen[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatcmpl-0f3a-77", "0f3a-77"),
        ("cmpl-0f3a-77-0", "0f3a-77"),
        ("cmpl-0f3a-77-12", "0f3a-77"),
        ("cmpl-chatcmpl-x-0", "chatcmpl-x"),
        ("resp_0f3a_77_0", "0f3a_77"),
        ("other-1234", "other-1234"),
    ],
)
def test_the_id_is_the_one_that_the_gateway_gave(tokens: ModuleType, name: str, expected: str) -> None:
    assert tokens.gateways_id(name) == expected
