"""What a client may send: caps, models, requests and tokens a minute."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provisioning.roles.gateway.gateway import passed_paths
from provisioning.roles.gateway.policy import scripts
from provisioning.roles.gateway.pools import loopback_pool
from tests.doubles.engine import EngineDouble, Received
from tests.gateway_requests import ask, clients, computed, hold, posts
from tests.gateways import (
    ENGINE_HOST,
    POOL,
    SECOND_KEY,
    adapter_serving,
    gateway_spec,
    ollama_serving,
    running_gateway,
    vllm_serving,
    wait_for,
)
from tests.unit.provisioning.conftest import NewGateway

CAPS = {"max_tokens": 8, "n": 2, "prompt_kib": 1}

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"

TOO_LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "max_tokens": ({"max_tokens": 9}, "max_tokens_too_large"),
    "max_completion_tokens": ({"path": CHAT, "max_completion_tokens": 9}, "max_tokens_too_large"),
    "one name of two": ({"path": CHAT, "max_tokens": 1, "max_completion_tokens": 9}, "max_tokens_too_large"),
    "max_output_tokens": ({"path": RESPONSES, "max_output_tokens": 9}, "max_tokens_too_large"),
    "an input": ({"path": RESPONSES, "input": "x" * 1025}, "prompt_too_large"),
    "instructions": ({"path": RESPONSES, "instructions": "x" * 1025}, "prompt_too_large"),
    "items": ({"path": RESPONSES, "input": [{"role": "user", "content": "x" * 1025}]}, "prompt_too_large"),
    "an endless answer": ({"max_tokens": -1}, "max_tokens_too_large"),
    "an empty answer": ({"max_tokens": 0}, "max_tokens_too_large"),
    "n": ({"n": 3}, "n_too_large"),
    "best_of": ({"best_of": 3}, "n_too_large"),
    "prompts": ({"prompt": ["a", "b", "c"]}, "n_too_large"),
    "two answers to each of two prompts": ({"prompt": [[1], [2, 3]], "n": 2}, "n_too_large"),
    "a prompt": ({"prompt": "x" * 1025}, "prompt_too_large"),
    "documents": ({"documents": [{"text": "x" * 1025}]}, "prompt_too_large"),
    "words for the chat template": ({"path": CHAT, "chat_template_kwargs": {"a": "x" * 1025}}, "prompt_too_large"),
    "the same as a message": ({"path": MESSAGES, "chat_template_kwargs": {"a": "x" * 1025}}, "prompt_too_large"),
    "the same as a response": ({"path": RESPONSES, "chat_template_kwargs": {"a": "x" * 1025}}, "prompt_too_large"),
    "earlier messages": ({"path": RESPONSES, "previous_input_messages": [{"a": "x" * 1025}]}, "prompt_too_large"),
    "images": ({"images": ["x" * 1025]}, "prompt_too_large"),
    "an earlier conversation": ({"context": [100_000] * 129}, "prompt_too_large"),
    "messages": ({"messages": [{"role": "user", "content": "x" * 1025}]}, "prompt_too_large"),
    "text for a number": ({"max_tokens": "9"}, "invalid_number"),
}


@pytest.mark.parametrize(("body", "code"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_request_above_a_cap_stops_at_the_gateway(
    new_gateway: NewGateway, engine: EngineDouble, body: dict[str, Any], code: str
) -> None:
    engine.faults.add("open_paths")
    gateway = new_gateway(clients=clients(caps=CAPS))
    reply = ask(gateway, **body)
    assert (reply.status, reply.code) == (400, code)
    assert computed(engine) == []
    assert ask(gateway, key=SECOND_KEY, **{**body, "max_tokens": 9}).status == 200  # the other client has no caps


def test_request_within_the_caps_passes_and_one_without_a_length_gets_the_cap(
    new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(clients=clients(caps=CAPS))
    assert ask(gateway, max_tokens=8, n=2).status == 200
    assert ask(gateway, max_tokens=None).status == 200
    assert ask(gateway, "X-LLM-Max-Tokens: 4000", key=SECOND_KEY).status == 200
    assert [_cap(got) for got in posts(engine)] == ["8", "8", None]


def test_a_model_may_have_caps_of_its_own_and_so_has_each_version_of_an_adapter(
    new_gateway: NewGateway, engine: EngineDouble
) -> None:
    mine = {"contract": {"max_tokens": 4, "prompt_kib": 2}}
    serving = adapter_serving(engine.port)
    gateway = new_gateway(serving=serving, clients=clients(caps=CAPS, model_caps=mine))
    for model in ("contract", "contract@1"):
        assert ask(gateway, model=model, max_tokens=5).code == "max_tokens_too_large"
        assert ask(gateway, model=model, n=3).code == "n_too_large"  # as for all models
        assert ask(gateway, model=model, prompt="x" * 2049).code == "prompt_too_large"
        assert ask(gateway, model=model, prompt="x" * 2000).status == 200
    assert ask(gateway, max_tokens=9).code == "max_tokens_too_large"
    assert ask(gateway, prompt="x" * 1025).code == "prompt_too_large"
    assert ask(gateway, max_tokens=8).status == 200
    assert [_cap(got) for got in posts(engine)] == ["4", "4", "8"]


ODD_NUMBERS: list[dict[str, Any]] = [
    {"best_of": 1e300},
    {"n": 1e300},
    {"n": 2**31},
    {"n": -(2**40)},
    {"n": 1.5},
    {"n": True},
    {"max_tokens": 100.5},
    {"max_tokens": 1e300},
    {"max_tokens": -1e300},
    {"max_tokens": 2**53 - 1},
    {"max_tokens": "1"},
]


def test_odd_numbers_pass_no_limit(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """Lua cannot format 1e300 or 100.5 as a whole number. HAProxy let the request through after the error."""
    gateway = new_gateway(clients=clients(tokens_per_minute=1000, caps={"n": 5}))
    for number, body in enumerate(ODD_NUMBERS):
        reply = ask(gateway, name=f"odd-{number}", **body)
        assert (reply.status, reply.code) == (400, "invalid_number"), body
    assert gateway.logged("odd-0")["decision"] == "refused"
    assert ask(gateway, n=5.0, max_tokens=10).status == 200  # a whole number
    assert len(computed(engine)) == 1
    assert ask(gateway, key=SECOND_KEY, n=2**31 - 1, max_tokens=2**31 - 1).status == 200  # no limit, so no refusal


BROKEN = [
    ("limits.lua", "function M.size(txn, client, model, pool, fields)\n"),
    ("limits.lua", "function M.at_once(txn, client)\n"),
    ("waits.lua", "function M.order(txn, pool, client, class)\n"),
    ("places.lua", "local function choose(txn)\n"),
]


@pytest.mark.parametrize(("script", "function"), BROKEN)
def test_what_was_not_decided_to_the_end_is_refused(
    new_gateway: NewGateway, engine: EngineDouble, monkeypatch: pytest.MonkeyPatch, script: str, function: str
) -> None:
    texts = scripts()
    assert function in texts[script]
    texts[script] = texts[script].replace(function, f"{function}  error('a bug')\n")
    monkeypatch.setattr("tests.gateways.scripts", lambda: texts)
    gateway = new_gateway()
    reply = ask(gateway, name="broken")
    assert (reply.status, reply.code) == (500, "gateway_error")
    line = gateway.logged("broken")
    assert (line["decision"], line["reason"]) == ("refused", "gateway_error")
    assert computed(engine) == []


OTHER_LENGTHS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"max_completion_tokens": 1}),
    (CHAT, {"max_output_tokens": 1}),
    (CHAT, {"options": {"num_predict": 1}}),
    ("/v1/messages", {"max_completion_tokens": 1}),
    (RESPONSES, {"max_tokens": 1, "max_completion_tokens": 1}),
]


def test_a_length_that_the_engine_does_not_read_is_none(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """vLLM ignored it, and the gateway did not send the cap: the answer was as long as the context."""
    engine.faults.add("open_paths")
    gateway = new_gateway(clients=clients(caps=CAPS, tokens_per_minute=50))
    for path, body in OTHER_LENGTHS:
        assert ask(gateway, path=path, **body).status == 200, (path, body)
        assert (engine.received[-1].target, _cap(engine.received[-1])) == (path, "8")
    assert ask(gateway, max_tokens=8).code == "tokens_per_minute"  # each counted as 8 and the prompt's 2


def test_counting_the_tokens_of_a_prompt_costs_no_answer(new_gateway: NewGateway, engine: EngineDouble) -> None:
    engine.faults.add("open_paths")
    gateway = new_gateway(clients=clients(tokens_per_minute=1000))
    assert ask(gateway, path="/v1/messages/count_tokens").status == 200
    assert ask(gateway, path="/v1/messages").code == "request_above_rate"  # the whole context


def test_the_limits_know_each_path_that_gets_a_body() -> None:
    """One that they do not know is refused."""
    text = scripts()["limits.lua"]
    pools = [
        loopback_pool(POOL, ENGINE_HOST, serving, gateway_spec())
        for serving in (vllm_serving(8000), ollama_serving(native_api=True))
    ]
    assert [path for path in passed_paths(pools)["POST"] if f'["{path}"] = ' not in text] == []


def _cap(got: Received) -> str | None:
    return next((value for name, value in got.headers.items() if name.lower() == "x-llm-max-tokens"), None)


STORED: list[tuple[dict[str, Any], int]] = [
    ({"store": True}, 400),
    ({"store": False}, 200),
    ({"store": None}, 200),
    ({"background": True}, 400),
    ({"background": False, "previous_response_id": None}, 200),
    ({"previous_response_id": "resp_1"}, 400),
    ({"previous_response_id": ""}, 400),
    ({"conversation": {"id": "conv_1"}}, 400),
    ({"conversation": "conv_1"}, 400),
]


@pytest.mark.parametrize("ollama", [False, True])
def test_a_response_that_needs_an_earlier_one_is_refused(tmp_path: Path, engine: EngineDouble, ollama: bool) -> None:
    """Ollama ignored `previous_response_id`, and answered without the conversation."""
    engine.faults |= {"open_paths", "no_key_needed"}
    serving = ollama_serving(engine.port) if ollama else None
    with running_gateway(tmp_path, engine, serving=serving) as gateway:
        wait_for(lambda: gateway.engine_is("UP"), "the engine")
        for body, status in STORED:
            reply = ask(gateway, path=RESPONSES, **body)
            assert (reply.status, reply.status == 400 and reply.code) == (status, status == 400 and "not_stored"), body
        assert ask(gateway, path=CHAT, store=True).status == 200  # of chat completions, where it asks for no answer


@pytest.mark.parametrize("name", ["X-LLM-Max-Tokens", "x-llm-max-tokens", "X_LLM_Max_Tokens", "X-LLM-Other"])
def test_no_header_of_a_client_tells_the_engine_its_cap(
    new_gateway: NewGateway, engine: EngineDouble, name: str
) -> None:
    gateway = new_gateway(clients=clients(caps=CAPS))
    assert ask(gateway, f"{name}: 4000", f"{name}: 5000").status == 200
    (got,) = posts(engine)
    ours = {key.lower(): value for key, value in got.headers.items() if "llm" in key.lower()}
    assert ours == {"x-llm-max-tokens": "8"}


def test_ollama_needs_the_length_in_the_request(tmp_path: Path, engine: EngineDouble) -> None:
    serving = ollama_serving(engine.port, native_api=True)
    with running_gateway(tmp_path, engine, serving=serving, clients=clients(caps={"max_tokens": 8})) as gateway:
        wait_for(lambda: gateway.engine_is("UP"), "the engine")
        assert ask(gateway).code == "max_tokens_required"
        assert ask(gateway, path=CHAT, max_completion_tokens=1).code == "max_tokens_required"  # Ollama ignores it
        assert ask(gateway, path=CHAT, options={"num_predict": 1}).code == "max_tokens_required"
        assert ask(gateway, max_tokens=0).code == "max_tokens_too_large"  # endless, for Ollama
        assert ask(gateway, path="/v1/embeddings", input="hello").status != 400
        native = json.dumps({"model": "tiny:latest", "options": {"num_predict": 9}}).encode()
        assert gateway.ask("POST", "/api/generate", body=native).code == "max_tokens_too_large"
        assert ask(gateway, path="/api/chat", max_tokens=1).code == "max_tokens_required"
        native = json.dumps({"model": "tiny", "options": {"num_predict": 8}}).encode()
        assert gateway.ask("POST", "/api/generate", body=native).status != 400


def test_client_gets_only_its_models(new_gateway: NewGateway) -> None:
    gateway = new_gateway(clients=clients(models=["tiny"]))
    reply = ask(gateway, model="contract")
    assert (reply.status, reply.code) == (404, "model_not_found")
    assert b"contract" not in reply.body
    assert ask(gateway, model="contract", key=SECOND_KEY).status == 200


def test_requests_a_minute(new_gateway: NewGateway) -> None:
    gateway = new_gateway(clients=clients(requests_per_minute=2))
    assert [ask(gateway).status for _ in range(2)] == [200, 200]
    reply = ask(gateway)
    assert (reply.status, reply.code) == (429, "requests_per_minute")
    assert 1 <= int(reply.headers["retry-after"]) <= 30
    assert ask(gateway, key=SECOND_KEY).status == 200


def test_tokens_a_minute(new_gateway: NewGateway) -> None:
    gateway = new_gateway(clients=clients(tokens_per_minute=100))
    assert ask(gateway, max_tokens=60).status == 200
    reply = ask(gateway, max_tokens=60)
    assert (reply.status, reply.code) == (429, "tokens_per_minute")
    assert 1 <= int(reply.headers["retry-after"]) <= math.ceil(60 * 62 / 100)
    assert ask(gateway, max_tokens=20).status == 200
    assert ask(gateway, max_tokens=101).code == "request_above_rate"


def test_each_prompt_of_a_list_counts(new_gateway: NewGateway) -> None:
    gateway = new_gateway(clients=clients(tokens_per_minute=100, caps={"n": 4}))
    assert ask(gateway, max_tokens=60, prompt=["a", "b"]).code == "request_above_rate"
    assert ask(gateway, max_tokens=20, prompt=["a", "b", "c", "d"]).status == 200
    assert ask(gateway, max_tokens=60).code == "tokens_per_minute"
    assert ask(gateway, key=SECOND_KEY, prompt=["a"] * 100, n=2**31 - 1, max_tokens=2**31 - 1).status == 200


def test_lists_of_models_count_as_requests_and_wait_in_the_queue(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(clients=clients(requests_per_minute=2), max_concurrency=1, max_queue=0)
    wait_for(lambda: gateway.engine_is("UP"), "the engine")
    assert [gateway.ask("GET", "/v1/models").status for _ in range(3)] == [200, 200, 429]
    assert ask(gateway).code == "requests_per_minute"
    held = hold(people, gateway, engine, 1, key=SECOND_KEY)
    assert gateway.ask("GET", "/v1/models", key=SECOND_KEY).code == "queue_full"
    engine.hold.set()
    assert held[0].result().status == 200


def test_refused_request_costs_no_tokens(new_gateway: NewGateway) -> None:
    gateway = new_gateway(clients=clients(tokens_per_minute=100, caps={"n": 1}))
    assert ask(gateway, max_tokens=90, n=2).code == "n_too_large"
    assert ask(gateway, max_tokens=90).status == 200
