"""Which requests the gateway sends to providers: real HAProxy and Lua, the real service, a provider double."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.spec.gateway_clients import ClientSpec
from tests.doubles.engine import EngineDouble, running_engine
from tests.doubles.llm_provider import ProviderDouble, running_provider
from tests.gateways import (
    CLIENT_KEY,
    SECOND_KEY,
    RunningGateway,
    engine_pool,
    gateway_before,
    gateway_spec,
    wait_for,
)
from tests.overflows import RunningOverflow, overflow_spec, provider_at, running_overflow

CLIENTS = (ClientSpec(name="default", data="public"), ClientSpec(name="second", data="sensitive"))
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}).encode()


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderDouble]:
    with running_provider() as double:
        yield double


@pytest.fixture(scope="module")
def service(provider: ProviderDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOverflow]:
    with running_overflow(tmp_path_factory.mktemp("service"), provider_at(provider), internal=True) as running:
        yield running


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    with running_engine() as double:
        yield double


def gateway_at(folder: Path, engine: EngineDouble, port: int, **overflow: object) -> Iterator[RunningGateway]:
    spec = gateway_spec(clients=CLIENTS, overflow=overflow_spec(**overflow), max_queue=0)
    with gateway_before(folder, [engine_pool({"host-1": engine})], spec, overflow_port=port) as running:
        wait_for(lambda: "UP" in states(running, "overflow"), "the service")
        yield running


def states(gateway: RunningGateway, backend: str) -> list[str]:
    lines = gateway.admin("show stat").removeprefix("# ").strip().splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
    return [row["status"] for row in rows if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND")]


@pytest.fixture
def gateway(
    tmp_path: Path, engine: EngineDouble, service: RunningOverflow, provider: ProviderDouble
) -> Iterator[RunningGateway]:
    provider.received.clear()
    provider.status = 200
    yield from gateway_at(tmp_path, engine, service.settings.port)


def make_unhealthy(gateway: RunningGateway, engine: EngineDouble) -> None:
    engine.faults.add("unhealthy")
    wait_for(lambda: "DOWN" in states(gateway, "main"), "the engine to be down")


def test_a_ready_engine_answers(gateway: RunningGateway, provider: ProviderDouble) -> None:
    wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
    reply = gateway.ask("POST", CHAT, body=BODY)
    assert (reply.status, "x-served-by" in reply.headers, provider.received) == (200, False, [])


def test_a_provider_answers_when_no_engine_is_there(
    gateway: RunningGateway, engine: EngineDouble, provider: ProviderDouble
) -> None:
    make_unhealthy(gateway, engine)
    reply = gateway.ask("POST", CHAT, "X-Request-Id: away-1", "X-LLM-Client: other", body=BODY)
    assert (reply.status, reply.headers["x-served-by"]) == (200, "overflow/first")
    assert json.loads(reply.body)["model"] == "tiny"
    (sent,) = provider.received
    assert "x-request-id" not in sent.headers
    line = gateway.logged("away-1")
    assert (line["decision"], line["pool"], line["data"], line["reason"]) == (
        "overflow",
        "overflow",
        "public",
        "engine_unavailable",
    )


def test_a_provider_answers_when_no_place_is_free(
    gateway: RunningGateway, engine: EngineDouble, provider: ProviderDouble
) -> None:
    wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
    engine.hold.clear()
    with gateway.connect() as first:
        lines = (f"POST {CHAT} HTTP/1.1", "Host: g", f"Authorization: Bearer {CLIENT_KEY}")
        head = "\r\n".join((*lines, f"Content-Length: {len(BODY)}", "", ""))
        first.sendall(head.encode() + BODY)
        wait_for(lambda: engine.running == 1, "the first request")
        reply = gateway.ask("POST", CHAT, body=BODY)
        assert reply.headers["x-served-by"] == "overflow/first"
        assert gateway.ask("POST", CHAT, key=SECOND_KEY, body=BODY).code == "queue_full"
        engine.hold.set()
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    ("headers", "leaves"),
    [
        pytest.param((), True, id="none"),
        pytest.param(("public",), True, id="public"),
        pytest.param(("internal",), False, id="internal"),
        pytest.param(("sensitive",), False, id="sensitive"),
        pytest.param(("secret",), False, id="unknown"),
        pytest.param(("Public",), False, id="another spelling"),
        pytest.param(("",), False, id="empty"),
        pytest.param(("public", "sensitive"), False, id="two"),
        pytest.param(("sensitive", "public"), False, id="two the other way"),
        pytest.param(("public, sensitive",), False, id="list"),
    ],
)
def test_the_strictest_class_counts(
    gateway: RunningGateway,
    engine: EngineDouble,
    provider: ProviderDouble,
    headers: tuple[str, ...],
    leaves: bool,
) -> None:
    make_unhealthy(gateway, engine)
    for key in (CLIENT_KEY, SECOND_KEY):
        reply = gateway.ask("POST", CHAT, *(f"X-Data-Class: {each}" for each in headers), key=key, body=BODY)
        assert (reply.status == 200) == (leaves and key == CLIENT_KEY)
    assert len(provider.received) == (1 if leaves else 0)


def test_internal_data_leaves_where_the_config_allows_it(
    tmp_path: Path, engine: EngineDouble, service: RunningOverflow, provider: ProviderDouble
) -> None:
    provider.received.clear()
    for gateway in gateway_at(tmp_path, engine, service.settings.port, internal=True):
        make_unhealthy(gateway, engine)
        assert gateway.ask("POST", CHAT, "X-Data-Class: internal", body=BODY).status == 200
        assert gateway.ask("POST", CHAT, "X-Data-Class: sensitive", body=BODY).status == 503
    assert len(provider.received) == 1


@pytest.mark.parametrize("wrong", ["no key", "no JSON", "no model", "unknown model"])
def test_a_wrong_request_never_leaves(
    gateway: RunningGateway, engine: EngineDouble, provider: ProviderDouble, wrong: str
) -> None:
    make_unhealthy(gateway, engine)
    body = {"no JSON": b"{", "no model": b"{}", "unknown model": b'{"model": "x"}'}.get(wrong, BODY)
    reply = gateway.ask("POST", CHAT, key=None if wrong == "no key" else CLIENT_KEY, body=body)
    assert 400 <= reply.status < 500
    assert provider.received == []


def test_a_service_that_is_gone_is_as_none(
    tmp_path: Path, engine: EngineDouble, provider: ProviderDouble, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_overflow(tmp_path_factory.mktemp("own"), provider_at(provider)) as service:
        for gateway in gateway_at(tmp_path, engine, service.settings.port):
            make_unhealthy(gateway, engine)
            service.kill()
            wait_for(lambda gateway=gateway: "DOWN" in states(gateway, "overflow"), "HAProxy to see it")  # type: ignore[misc]
            assert gateway.ask("POST", CHAT, body=BODY).code == "engine_unavailable"
            engine.faults.clear()
            wait_for(lambda gateway=gateway: gateway.ask("GET", "/health").status == 200, "the engine")  # type: ignore[misc]
            assert gateway.ask("POST", CHAT, body=BODY).status == 200
