"""What the plugin for /v1/responses refuses. tests/machine/test_request_limits.py proves that vLLM obeys it."""

import importlib.util
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT

PROGRAM = CHECKOUT / "provisioning" / "programs" / "engine" / "vllm_responses.py"


@pytest.fixture(scope="module")
def responses() -> ModuleType:
    """The plugin, which imports vLLM only when it is installed."""
    spec = importlib.util.spec_from_file_location("vllm_responses", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


USER = {"role": "user", "content": "x"}
FUNCTION = {"type": "function", "name": "f", "parameters": {}}

REQUESTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "text": ({"input": "x"}, None),
    "a message": ({"input": [USER]}, None),
    "a message with its type": ({"input": [{**USER, "type": "message"}]}, None),
    "a type of null": ({"input": [{**USER, "type": None}]}, None),
    "a call": ({"input": [USER, {"type": "function_call"}, {"type": "function_call_output"}]}, None),
    "a thought": ({"input": [{"type": "reasoning"}]}, None),
    "left to vLLM": ({"input": [5, None, "x"], "tools": 5}, None),
    "a reference": ({"input": [USER, {"type": "item_reference", "id": "a"}]}, "'item_reference'"),
    "a search": ({"input": [{"type": "file_search_call"}]}, "'file_search_call'"),
    "an answer": ({"input": [{"role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]}, None),
    "an answer of text": ({"input": [{"role": "assistant", "content": "x"}]}, None),
    "an empty answer": ({"input": [{"role": "assistant", "content": []}]}, "output_text"),
    "a refusal": ({"input": [{"role": "assistant", "content": [{"type": "refusal"}]}]}, "output_text"),
    "a list for a type": ({"input": [{"type": ["message"]}]}, "['message']"),
    "a function": ({"tools": [FUNCTION]}, None),
    "a hosted tool": ({"tools": [FUNCTION, {"type": "web_search"}]}, "'web_search'"),
    "a tool of a server": ({"tools": [{"type": "mcp", "server_url": "http://127.0.0.1"}]}, "'mcp'"),
    "a tool without type": ({"tools": [{"name": "f"}]}, "None"),
    "a long type": ({"tools": [{"type": "x" * 1000}]}, "'" + "x" * 49),
    "earlier messages": ({"previous_input_messages": [USER]}, "`previous_input_messages`"),
    "no earlier messages": ({"previous_input_messages": None}, None),
}


@pytest.mark.parametrize(("body", "named"), REQUESTS.values(), ids=REQUESTS)
def test_what_no_engine_here_has_is_refused_by_name(
    responses: ModuleType, body: dict[str, Any], named: str | None
) -> None:
    said = responses.unavailable(body)
    assert (said is None) == (named is None)
    assert named is None or named in said


KINDS: list[tuple[Any, str | None]] = [
    (USER, "message"),
    ({"role": "assistant", "content": "x"}, "message"),
    ({"role": "user", "content": []}, "parts"),
    ({"role": "assistant", "content": []}, "answer"),
    (SimpleNamespace(type="message", role="assistant", content=[]), "answer"),
    ({"type": "function_call"}, "function_call"),
    (SimpleNamespace(type="reasoning"), "reasoning"),
    ({"type": "web_search_call"}, "web_search_call"),
    ({"type": 5}, None),
    ({}, "parts"),
    (None, "parts"),
    ("text", "parts"),
]


@pytest.mark.parametrize(("item", "kind"), KINDS, ids=str)
def test_an_item_is_compared_with_one_type(responses: ModuleType, item: Any, kind: str | None) -> None:
    assert responses.kind_of(item) == kind
