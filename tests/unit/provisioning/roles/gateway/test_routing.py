"""The body decides which pool computes a request; what nobody can compute is refused by the gateway."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provisioning.roles.gateway.pools import loopback_pool
from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import (
    CLIENT_KEY,
    SECOND_KEY,
    Reply,
    RunningGateway,
    engine_pool,
    gateway_before,
    gateway_spec,
    ollama_serving,
    wait_for,
)

KOREAN = "\uacc4\uc57d\uc11c \uc81c3\uc870"


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, EngineDouble]]:
    with running_engine() as small, running_engine() as large:
        small.models, large.models = ("small", "contract"), ("large",)
        yield {"small": small, "large": large}


@pytest.fixture(scope="module")
def gateway(engines: dict[str, EngineDouble], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway in front of two pools with one engine each."""
    pools = [
        engine_pool({"gpu-1": engines["small"]}, names=("small", "contract"), name="small"),
        engine_pool({"gpu-2": engines["large"]}, names=("large",), name="large"),
    ]
    with gateway_before(tmp_path_factory.mktemp("pools"), pools, gateway_spec()) as running:
        yield running


Gateways = tuple[RunningGateway, ThreadPoolExecutor, dict[str, EngineDouble]]


@pytest.fixture
def gateway_of_five(engines: dict[str, EngineDouble], tmp_path: Path) -> Iterator[Gateways]:
    """A gateway that takes five requests in each of two pools, clients, and engines that hold what they get."""
    pools = [engine_pool({f"gpu-{name}": each}, names=(name,), name=name) for name, each in engines.items()]
    with gateway_before(tmp_path, pools, gateway_spec(max_queue=4)) as running, ThreadPoolExecutor(20) as people:
        for each in engines.values():
            each.hold.clear()
        yield running, people, engines
        for each in engines.values():
            each.hold.set()


def post(gateway: RunningGateway, body: Any, request_id: str = "") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = (f"X-Request-Id: {request_id}",) if request_id else ()
    return gateway.ask("POST", "/v1/chat/completions", *headers, body=data)


@pytest.mark.parametrize(
    ("model", "pool", "host"),
    [("small", "small", "gpu-1"), ("contract", "small", "gpu-1"), ("large", "large", "gpu-2")],
)
def test_model_in_the_body_chooses_the_pool(gateway: RunningGateway, model: str, pool: str, host: str) -> None:
    body = {"messages": [{"role": "user", "content": f'{KOREAN} "model": "none"'}], "model": model}
    assert post(gateway, body, f"to-{model}").status == 200
    line = gateway.logged(f"to-{model}")
    assert (line["model"], line["pool"], line["host"], line["decision"]) == (model, pool, host, "served")


@pytest.mark.parametrize("escaped", [r"\u006carge", r"l\u0061rge"])
def test_escapes_in_the_name_are_read_as_the_engine_reads_them(
    gateway: RunningGateway, engines: dict[str, EngineDouble], escaped: str
) -> None:
    engines["large"].received.clear()
    assert post(gateway, f'{{"model":"{escaped}"}}'.encode()).status == 200
    assert [got.target for got in engines["large"].received if got.body]


def test_unknown_model_is_refused_with_the_names_that_are_served(
    gateway: RunningGateway, engines: dict[str, EngineDouble]
) -> None:
    for each in engines.values():
        each.received.clear()
    reply = post(gateway, {"model": "smalll"}, "unknown")
    assert (reply.status, reply.code) == (404, "model_not_found")
    assert json.loads(reply.body)["error"]["message"].endswith("small, contract, large")
    assert gateway.logged("unknown")["reason"] == "model_not_found"
    assert not [got for each in engines.values() for got in each.received if got.target != "/health"]


def test_models_of_all_pools_are_listed_by_the_gateway(
    gateway: RunningGateway, engines: dict[str, EngineDouble]
) -> None:
    for each in engines.values():
        each.received.clear()
    reply = gateway.ask("GET", "/v1/models", "X-Request-Id: list")
    listed = json.loads(reply.body)
    assert (reply.status, listed["object"]) == (200, "list")
    assert [each["id"] for each in listed["data"]] == ["small", "contract", "large"]
    for entry in listed["data"]:
        one = gateway.ask("GET", f"/v1/models/{entry['id']}")
        assert (one.status, json.loads(one.body)) == (200, entry)
    assert gateway.ask("GET", "/v1/models", key=None).status == 401
    assert gateway.logged("list")["decision"] == "served"
    assert not [got for each in engines.values() for got in each.received if got.target != "/health"]


@pytest.mark.parametrize(
    ("name", "status"), [("tiny", 200), ("tiny:latest", 200), ("tiny%3Alatest", 200), ("small", 200), ("other", 404)]
)
def test_a_model_of_ollama_beside_vllm_is_answered_by_the_gateway(
    engines: dict[str, EngineDouble], tmp_path: Path, name: str, status: int
) -> None:
    """Its name without a tag once went to the first pool, whose vLLM knows no such path."""
    spec = gateway_spec()
    pools = [
        engine_pool({"gpu-1": engines["small"]}, names=("small",), name="small"),
        loopback_pool("other", "gpu-2", ollama_serving(engines["large"].port), spec),
    ]
    for each in engines.values():
        each.received.clear()
    with gateway_before(tmp_path, pools, spec) as gateway:
        reply = gateway.ask("GET", f"/v1/models/{name}")
    said = json.loads(reply.body)
    assert (reply.status, said.get("id")) == (status, name.replace("%3A", ":") if status == 200 else None)
    assert not [got for each in engines.values() for got in each.received if got.target.startswith("/v1")]


REFUSED = {
    "no JSON": (b"model=small", "invalid_json"),
    "empty": (b"", "invalid_json"),
    "a list": (b'[{"model":"small"}]', "invalid_json"),
    "a key twice": (b'{"model":"small","model":"large"}', "invalid_json"),
    "a key twice, once escaped": (rb'{"model":"small","mod\u0065l":"large"}', "invalid_json"),
    "a BOM": (b'\xef\xbb\xbf{"model":"small"}', "invalid_json"),
    "invalid UTF-8": (b'{"model":"small","prompt":"\xff"}', "invalid_json"),
    "half of a surrogate pair": (b'{"model":"small","prompt":"\xed\xa0\x80"}', "invalid_json"),
    "NUL": (b'{"model":"small","prompt":"\x00"}', "invalid_json"),
    "NUL after the end": (b'{"model":"small"}\x00', "invalid_json"),
    "a control character": (b'{"model":"small","prompt":"\x02"}', "invalid_json"),
    "newline in a text": (b'{"model":"small","prompt":"\n"}', "invalid_json"),
    "a comment": (b'{"model":"small"/**/}', "invalid_json"),
    "NaN": (b'{"model":"small","temperature":NaN}', "invalid_json"),
    "nested too deeply": (b'{"model":"small","a":' + b"[" * 70 + b"]" * 70 + b"}", "invalid_json"),
    "text after the end": (b'{"model":"small"} {"model":"large"}', "invalid_json"),
    "no model": (b'{"prompt":"hello"}', "invalid_model"),
    "a model that is a number": (b'{"model":7}', "invalid_model"),
    "a model that is a list": (b'{"model":["small"]}', "invalid_model"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_body_that_two_parsers_may_read_differently_stops_at_the_gateway(
    gateway: RunningGateway, engines: dict[str, EngineDouble], body: bytes, code: str
) -> None:
    for each in engines.values():
        each.received.clear()
    reply = post(gateway, body)
    assert (reply.status, reply.code) == (400, code)
    assert not [got for each in engines.values() for got in each.received if got.target != "/health"]


def test_pool_without_an_engine_refuses_and_the_other_serves(tmp_path: Path, engines: dict[str, EngineDouble]) -> None:
    pools = [
        engine_pool({"gpu-1": engines["small"]}, names=("small",), name="small"),
        engine_pool({"gpu-2": engines["large"]}, names=("large",), name="large"),
    ]
    with gateway_before(tmp_path, pools, gateway_spec()) as gateway:
        gateway.admin("disable server large/gpu-2")
        assert post(gateway, {"model": "large"}).code == "engine_unavailable"
        assert post(gateway, {"model": "small"}).status == 200
        assert gateway.ask("GET", "/health", key=None).status == 200
        gateway.admin("disable server small/gpu-1")
        wait_for(lambda: gateway.ask("GET", "/health", key=None).status == 503, "no engine is left")


@pytest.mark.parametrize(
    ("elsewhere", "others", "own", "code"),
    [(3, 4, 0, ""), (5, 1, 2, "share_exceeded")],
    ids=["nothing in this pool", "above its share in this pool"],
)
def test_a_share_is_of_one_pool(gateway_of_five: Gateways, elsewhere: int, others: int, own: int, code: str) -> None:
    """A client has half of the five requests that each pool takes."""
    gateway, people, engines = gateway_of_five

    def send(model: str, key: str) -> Future[Reply]:
        body = json.dumps({"model": model, "prompt": "hello"}).encode()
        return people.submit(gateway.ask, "POST", "/v1/completions", key=key, body=body)

    def fill(model: str, key: str, count: int, waiting: int) -> list[Future[Reply]]:
        sent = [send(model, key) for _ in range(count)]
        wait_for(lambda: gateway.waiting(model) == waiting, "requests wait")
        return sent

    sent = fill("small", CLIENT_KEY, elsewhere, elsewhere - 1)
    sent += fill("large", SECOND_KEY, others, others - 1)
    sent += fill("large", CLIENT_KEY, own, own + others - 1)
    last = send("large", CLIENT_KEY)
    wait_for(lambda: last.done() or gateway.waiting("large") == own + others, "the last one waits or is refused")
    for each in engines.values():
        each.hold.set()
    assert {each.result().status for each in sent} == {200}
    assert last.result().code == code if code else last.result().status == 200
