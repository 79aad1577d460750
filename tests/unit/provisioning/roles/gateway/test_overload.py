"""What a client may send, who waits, and who is refused at once."""

import itertools
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from provisioning.roles.gateway.gateway import passed_paths
from provisioning.roles.gateway.policy import policy_text, scripts
from provisioning.roles.gateway.pools import loopback_pool
from serving.spec.gateway_classes import ClassesSpec, Degrade
from serving.spec.gateway_clients import ClientSpec
from tests.doubles.engine import TOKENS, EngineDouble, Received, running_engine
from tests.gateways import (
    ADDRESS,
    CLIENT,
    CLIENT_KEY,
    DEADLINE_S,
    ENGINE_HOST,
    POOL,
    SECOND_CLIENT,
    SECOND_KEY,
    Reply,
    RunningGateway,
    adapter_serving,
    body_of,
    free_port,
    gateway_spec,
    ollama_serving,
    running_gateway,
    vllm_serving,
    wait_for,
)
from tests.unit.provisioning.conftest import NewGateway


@pytest.fixture
def people() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def clients(**first: Any) -> tuple[ClientSpec, ...]:
    """Return two clients, the first with its own limits."""
    return (ClientSpec.model_validate({"name": CLIENT, **first}), ClientSpec(name=SECOND_CLIENT))


def ask(
    gateway: RunningGateway,
    *headers: str,
    key: str = CLIENT_KEY,
    name: str = "",
    path: str = "/v1/completions",
    **body: Any,
) -> Reply:
    named = (f"X-Request-Id: {name}",) if name else ()
    data = json.dumps({"model": "tiny", "prompt": "hello", **body}).encode()
    return gateway.ask("POST", path, *headers, *named, key=key, body=data)


def computed(engine: EngineDouble) -> list[dict[str, Any]]:
    """Return the bodies that the engine got, in order."""
    return [json.loads(got.body) for got in engine.received if got.target == "/v1/completions"]


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
    assert [_cap(got) for got in _posts(engine)] == ["8", "8", None]


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
    assert [_cap(got) for got in _posts(engine)] == ["4", "4", "8"]


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
    (got,) = _posts(engine)
    ours = {key.lower(): value for key, value in got.headers.items() if "llm" in key.lower()}
    assert ours == {"x-llm-max-tokens": "8"}


def _posts(engine: EngineDouble) -> list[Any]:
    return [got for got in engine.received if got.target == "/v1/completions"]


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


def hold(
    people: ThreadPoolExecutor,
    gateway: RunningGateway,
    engine: EngineDouble,
    running: int,
    waiting: int = 0,
    **how: Any,
) -> list[Future[Reply]]:
    """Let requests run in the engine, which holds them, and others wait behind them."""
    engine.hold.clear()
    futures = [people.submit(ask, gateway, **how) for _ in range(running)]
    wait_for(lambda: engine.running >= running, "running requests")
    before = gateway.waiting()
    futures += [people.submit(ask, gateway, **how) for _ in range(waiting)]
    wait_for(lambda: gateway.waiting() == before + waiting, "waiting requests")
    return futures


def test_requests_at_the_same_time(people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(clients=clients(max_concurrency=2), max_concurrency=8)
    held = hold(people, gateway, engine, 2)
    reply = ask(gateway)
    assert (reply.status, reply.code) == (429, "too_many_at_once")
    other = hold(people, gateway, engine, 3, key=SECOND_KEY)
    engine.hold.set()
    assert {future.result().status for future in held + other} == {200}
    assert ask(gateway).status == 200


def test_batch_waits_behind_interactive(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    """By the client's class or the header; a batch client cannot ask for more."""
    gateway = new_gateway(clients=clients(**{"class": "batch"}), max_concurrency=1)
    engine.steps = threading.Semaphore(0)
    sent = [people.submit(ask, gateway, key=SECOND_KEY, prompt="first", stream=True)]
    wait_for(lambda: len(computed(engine)) == 1, "the first one runs")
    order = [
        ("batch 1", CLIENT_KEY, ()),
        ("batch 2", CLIENT_KEY, ("X-Priority: interactive",)),
        ("batch 3", SECOND_KEY, ("X-Priority: batch",)),
        ("interactive 1", SECOND_KEY, ()),
        ("interactive 2", SECOND_KEY, ("X-Priority: interactive",)),
    ]
    for number, (prompt, key, headers) in enumerate(order, 1):
        sent.append(
            people.submit(ask, gateway, *headers, key=key, prompt=prompt, stream=True, name=prompt.replace(" ", "-"))
        )
        wait_for(lambda number=number: gateway.waiting() == number, prompt)  # type: ignore[misc]
    engine.steps.release(100)
    assert {future.result().status for future in sent} == {200}
    assert [each["prompt"] for each in computed(engine)] == [
        "first",
        "interactive 1",
        "interactive 2",
        "batch 1",
        "batch 2",
        "batch 3",
    ]
    assert (gateway.logged("batch-2")["class"], gateway.logged("interactive-1")["class"]) == ("batch", "interactive")


def test_old_batch_goes_before_new_interactive(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    aging = ClassesSpec.model_validate({"batch": {"aging_s": 0}})
    gateway = new_gateway(clients=clients(**{"class": "batch"}), max_concurrency=1, classes=aging)
    engine.steps = threading.Semaphore(0)
    sent = [people.submit(ask, gateway, prompt="first", stream=True)]
    wait_for(lambda: len(computed(engine)) == 1, "the first one runs")
    for number, (prompt, key) in enumerate((("batch", CLIENT_KEY), ("interactive", SECOND_KEY)), 1):
        sent.append(people.submit(ask, gateway, key=key, prompt=prompt, stream=True))
        wait_for(lambda number=number: gateway.waiting() == number, prompt)  # type: ignore[misc]
    engine.steps.release(100)
    assert {future.result().status for future in sent} == {200}
    assert [each["prompt"] for each in computed(engine)] == ["first", "batch", "interactive"]


def test_batch_goes_before_interactive_that_comes_after_its_aging(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    aging = ClassesSpec.model_validate({"batch": {"aging_s": 1}})
    gateway = new_gateway(clients=clients(**{"class": "batch"}), max_concurrency=1, classes=aging)
    engine.steps = threading.Semaphore(0)
    sent = [people.submit(ask, gateway, prompt="first", stream=True)]
    wait_for(lambda: len(computed(engine)) == 1, "the first one runs")

    def wait_with(prompt: str, key: str) -> float:
        sent.append(people.submit(ask, gateway, key=key, prompt=prompt, stream=True))
        wait_for(lambda: gateway.waiting() == len(sent) - 1, prompt)
        return time.monotonic()

    began = time.monotonic()
    came = wait_with("batch", CLIENT_KEY)
    is_soon = wait_with("soon", SECOND_KEY) - began < 1
    wait_for(lambda: time.monotonic() - came > 1, "the aging")
    wait_with("late", SECOND_KEY)
    engine.steps.release(100)
    assert {future.result().status for future in sent} == {200}
    order = [each["prompt"] for each in computed(engine)]
    assert order == ["first", "soon", "batch", "late"] or (not is_soon and order[-1] == "late")  # a slow machine


@pytest.mark.parametrize(
    "times", [(30, None), (200, None), (261, None), (400, 123), (523, 0), (60, 463), (10, 0)], ids=str
)
def test_no_order_is_beyond_what_haproxy_compares(times: tuple[int, int | None]) -> None:
    """Aging and fairness put a request back. HAProxy 2.6 reverses the order of two that are 524 s apart."""
    queue_timeout_s, aging_s = times
    spec = gateway_spec(
        queue_timeout_s=queue_timeout_s, classes=ClassesSpec.model_validate({"batch": {"aging_s": aging_s}})
    )
    text = policy_text([loopback_pool(POOL, ENGINE_HOST, vllm_serving(8000), spec)], spec)
    back_ms = {name: int(value) for name, value in re.findall(r'\["(fair_ms|aging_s)"\] = (\d+)', text)}
    assert back_ms.keys() == {"fair_ms", "aging_s"}
    assert queue_timeout_s + back_ms["aging_s"] + back_ms["fair_ms"] / 1000 < 524


def test_unknown_priority_is_refused(new_gateway: NewGateway) -> None:
    reply = ask(new_gateway(), "X-Priority: urgent")
    assert (reply.status, reply.code) == (400, "invalid_priority")


def test_client_above_its_share_is_refused_while_others_wait_and_the_other_is_not(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(clients=clients(share=0.5), max_concurrency=2, max_queue=6)
    held = hold(people, gateway, engine, 2, 6)  # alone it may have all
    assert ask(gateway).code == "queue_full"
    held += hold(people, gateway, engine, 0, 2, key=SECOND_KEY)  # below its share, behind a queue that is full
    reply = ask(gateway)
    assert (reply.status, reply.code) == (429, "share_exceeded")
    engine.hold.set()
    assert {future.result().status for future in held} == {200}


def learn(gateway: RunningGateway, engine: EngineDouble) -> None:
    """Let some requests take half a second each, so that the gateway knows what one takes."""
    engine.token_s = 0.5 / len(TOKENS)
    for _ in range(3):
        assert ask(gateway, stream=True).status == 200


def test_request_that_would_wait_too_long_is_refused_at_once(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    classes = ClassesSpec.model_validate({"interactive": {"deadline_s": 1}, "batch": {"deadline_s": 20}})
    gateway = new_gateway(max_concurrency=1, max_queue=60, classes=classes, queue_timeout_s=30)
    learn(gateway, engine)
    engine.token_s = 0
    held = hold(people, gateway, engine, 1)
    held += [people.submit(ask, gateway) for _ in range(12)]
    wait_for(
        lambda: sum(future.done() for future in held) + gateway.waiting() + 1 == len(held), "each waits or is refused"
    )
    refused = [future.result() for future in held if future.done()]
    assert len(refused) >= 6
    assert {(reply.status, reply.code) for reply in refused} == {(429, "would_wait_too_long")}
    assert all(1 <= int(reply.headers["retry-after"]) < 120 for reply in refused)
    batch = people.submit(ask, gateway, "X-Priority: batch")
    wait_for(lambda: gateway.waiting() == len(held) - len(refused), "the batch request waits")
    engine.hold.set()
    assert batch.result().status == 200


def refusals(gateway: RunningGateway, count: int) -> list[int]:
    """Return the Retry-After of `count` refused requests on one connection."""
    connection = HTTPSConnection(ADDRESS, gateway.port, context=gateway.tls(), timeout=DEADLINE_S)
    headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
    times = []
    with closing(connection):
        for _ in range(count):
            connection.request("POST", "/v1/completions", body_of(64), headers)
            reply = connection.getresponse()
            reply.read()
            times.append(int(reply.headers["Retry-After"]))
    return times


def full(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> tuple[RunningGateway, Future[Reply]]:
    """Return a gateway without a queue that knows what a request takes, and the request that has its only place."""
    gateway = new_gateway(max_concurrency=1, max_queue=0)
    learn(gateway, engine)
    engine.token_s = 0
    held = hold(people, gateway, engine, 1)[0]
    wait_for(lambda: ask(gateway).headers["retry-after"] != "10", "the gateway knows what a request takes")
    return gateway, held


def test_refused_clients_get_their_turns_one_after_another(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway, held = full(people, new_gateway, engine)
    times = [int(ask(gateway).headers["retry-after"]) for _ in range(20)]
    assert times == sorted(times)
    assert times[-1] > times[0]
    engine.hold.set()
    assert held.result().status == 200


def test_clients_that_never_come_back_leave_no_long_turns_behind(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway, held = full(people, new_gateway, engine)
    times = refusals(gateway, 1500)
    assert max(times) == times[-1] == 600
    engine.hold.set()
    assert held.result().status == 200
    hold(people, gateway, engine, 1)
    assert int(ask(gateway).headers["retry-after"]) < 60


def test_a_client_that_never_waits_for_its_turn_delays_itself_alone(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway, held = full(people, new_gateway, engine)
    assert refusals(gateway, 200)[-1] > 60
    others = [int(ask(gateway, key=SECOND_KEY).headers["retry-after"]) for _ in range(5)]
    assert others == sorted(others)
    assert others[-1] < 30
    engine.hold.set()
    assert held.result().status == 200


def test_answers_are_shorter_above_a_wait(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(max_concurrency=1, degrade=(Degrade(model="tiny", max_tokens=2, above_wait_s=1),))
    learn(gateway, engine)
    engine.token_s = 0
    held = hold(people, gateway, engine, 1, 4)
    late = people.submit(ask, gateway, name="late")
    wait_for(lambda: gateway.waiting() == 5, "the late one waits")
    engine.hold.set()
    assert late.result().headers["x-degraded"] == "length"
    assert "x-degraded" not in held[0].result().headers
    assert [
        each.headers.get("x-llm-max-tokens") for each in _posts(engine) if each.headers["x-request-id"] == "late"
    ] == ["2"]
    line = gateway.logged("late")
    assert (line["decision"], line["degraded"]) == ("degraded", "length")


def test_request_waits_for_an_engine_that_starts(people: ThreadPoolExecutor, tmp_path: Path) -> None:
    port = free_port()
    with running_gateway(tmp_path, port, no_engine_wait_s=60) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        waiting = people.submit(ask, gateway)
        with running_engine(port=port):
            assert waiting.result().status == 200


def test_request_that_waits_for_an_engine_comes_again_after_a_reload(
    people: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """HAProxy checks nothing in a process that ends: the request once waited in vain, though the engine was there."""
    port = free_port()
    with running_gateway(tmp_path, port, no_engine_wait_s=60) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        waiting = people.submit(ask, gateway)
        wait_for(lambda: gateway_holds(gateway, 1), "it waits")
        gateway.reload()
        reply = waiting.result()
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "engine_unavailable", "1")
        waiting = people.submit(ask, gateway)
        wait_for(lambda: gateway_holds(gateway, 1), "it waits in the new process")
        with running_engine(port=port):
            assert waiting.result().status == 200


def test_wait_for_an_engine_ends_with_the_rest_of_its_start(tmp_path: Path) -> None:
    """A minute is expected until a start was seen, then what the last one took."""
    port, began = free_port(), time.monotonic()
    with running_gateway(tmp_path, port, no_engine_wait_s=1) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        reply = ask(gateway)
        assert (reply.status, reply.code) == (503, "engine_unavailable")
        assert 30 < int(reply.headers["retry-after"]) <= 60
        with running_engine(port=port):
            wait_for(lambda: ask(gateway).status == 200, "the start")
            took_s = time.monotonic() - began
        wait_for(lambda: ask(gateway).code == "engine_unavailable" and gateway.engine_is("DOWN"), "its end")
        assert 1 <= int(ask(gateway).headers["retry-after"]) <= math.ceil(took_s)


def test_requests_that_wait_for_an_engine_are_counted_before(people: ThreadPoolExecutor, tmp_path: Path) -> None:
    """All of them passed when the engine came: the rate was looked at before the wait, and counted after it."""
    port = free_port()
    with running_gateway(tmp_path, port, no_engine_wait_s=60, clients=clients(requests_per_minute=2)) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        sent = [people.submit(ask, gateway) for _ in range(6)]
        wait_for(lambda: sum(future.done() for future in sent) == 4, "four are refused")
        with running_engine(port=port):
            assert sorted(future.result().status for future in sent) == [200, 200, 429, 429, 429, 429]


def test_request_that_waited_in_vain_costs_nothing(tmp_path: Path) -> None:
    with running_gateway(tmp_path, free_port(), no_engine_wait_s=0, clients=clients(requests_per_minute=2)) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        assert [ask(gateway).status for _ in range(4)] == [503] * 4


def test_no_client_takes_the_whole_wait_for_an_engine(people: ThreadPoolExecutor, tmp_path: Path) -> None:
    port = free_port()
    with running_gateway(tmp_path, port, no_engine_wait_s=60, max_queue=4) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        first = [people.submit(ask, gateway) for _ in range(6)]
        wait_for(lambda: sum(future.done() for future in first) == 2, "alone it may have all")
        second = [people.submit(ask, gateway, key=SECOND_KEY)]
        wait_for(lambda: gateway_holds(gateway, 5), "the second one waits too")
        assert ask(gateway).code == "engine_unavailable"  # above its share, while another waits
        with running_engine(port=port):
            assert [future.result().status for future in second] == [200]
            assert sorted(future.result().status for future in first) == [200] * 4 + [503] * 2


def gateway_holds(gateway: RunningGateway, requests: int) -> bool:
    """Return whether the clients have so many requests here."""
    rows = gateway.admin("show table clients").splitlines()
    return sum(int(row.partition("conn_cur=")[2]) for row in rows if "conn_cur=" in row) == requests


def test_who_hangs_up_leaves_the_wait_for_an_engine(tmp_path: Path) -> None:
    with running_gateway(tmp_path, free_port(), no_engine_wait_s=1, max_queue=1) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        with gateway.connect() as impatient:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
            impatient.sendall(f"{head}Content-Length: 64\r\n\r\n".encode() + body_of(64))
            wait_for(lambda: gateway_holds(gateway, 1), "it waits")
        names = map("late-{}".format, itertools.count())

        def waits() -> bool:
            name = next(names)
            assert ask(gateway, name=name).code == "engine_unavailable"
            return bool(gateway.logged(name)["total_ms"] >= 1000)  # else it was refused at once

        wait_for(waits, "its place is free")


def test_no_more_wait_for_an_engine_than_the_queue_holds(people: ThreadPoolExecutor, tmp_path: Path) -> None:
    port = free_port()
    with running_gateway(tmp_path, port, no_engine_wait_s=60, max_queue=2) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        sent = [people.submit(ask, gateway) for _ in range(5)]
        wait_for(lambda: sum(future.done() for future in sent) == 3, "three are refused")
        assert {future.result().code for future in sent if future.done()} == {"engine_unavailable"}
        with running_engine(port=port):
            assert sorted(future.result().status for future in sent) == [200, 200, 503, 503, 503]
