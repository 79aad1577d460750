"""Which requests the gateway sends to providers: real HAProxy and Lua, the real service, a provider double."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.overflow.settings import Cap
from serving.spec.gateway_classes import ClassesSpec
from serving.spec.gateway_clients import ClientSpec
from tests.doubles.engine import TOKENS, EngineDouble, running_engine
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


@contextmanager
def gateway_at(folder: Path, engine: EngineDouble, port: int, **fields: Any) -> Iterator[RunningGateway]:
    """Run a gateway in front of an engine with one place; `fields` are those of GatewaySpec."""
    spec = gateway_spec(**{"clients": CLIENTS, "overflow": overflow_spec(), "max_queue": 0} | fields)
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
    with gateway_at(tmp_path, engine, service.settings.port) as running:
        yield running


def make_unhealthy(gateway: RunningGateway, engine: EngineDouble) -> None:
    engine.faults.add("unhealthy")
    wait_for(lambda: "DOWN" in states(gateway, "main"), "the engine to be down")


@pytest.fixture(scope="module")
def shared_without_engine(
    service: RunningOverflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway whose engine is down; HAProxy takes three seconds to see that."""
    folder = tmp_path_factory.mktemp("without-engine")
    with running_engine() as engine, gateway_at(folder, engine, service.settings.port) as running:
        make_unhealthy(running, engine)
        yield running


@pytest.fixture
def without_engine(shared_without_engine: RunningGateway, provider: ProviderDouble) -> RunningGateway:
    provider.received.clear()
    provider.status = 200
    return shared_without_engine


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_a_request_in_a_form_that_nobody_translates_never_leaves(
    without_engine: RunningGateway, provider: ProviderDouble, path: str
) -> None:
    asked = {**json.loads(BODY), "input": "hello"}
    assert without_engine.ask("POST", path, body=json.dumps(asked).encode()).code == "engine_unavailable"
    assert provider.received == []


def test_a_ready_engine_answers(gateway: RunningGateway, provider: ProviderDouble) -> None:
    wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
    reply = gateway.ask("POST", CHAT, body=BODY)
    assert (reply.status, "x-served-by" in reply.headers, provider.received) == (200, False, [])


def test_a_provider_answers_when_no_engine_is_there(without_engine: RunningGateway, provider: ProviderDouble) -> None:
    reply = without_engine.ask("POST", CHAT, "X-Request-Id: away-1", "X-LLM-Client: other", body=BODY)
    assert (reply.status, reply.headers["x-served-by"]) == (200, "overflow/first")
    assert json.loads(reply.body)["model"] == "tiny"
    (sent,) = provider.received
    assert "x-request-id" not in sent.headers
    line = without_engine.logged("away-1")
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


@pytest.mark.parametrize("cap", [False, True], ids=["an image", "near the cap"])
def test_who_cannot_leave_gets_the_answer_of_a_gateway_without_providers(
    tmp_path: Path, engine: EngineDouble, service: RunningOverflow, provider: ProviderDouble, cap: bool
) -> None:
    """The engine was only busy. It was a 503, or a 429 until the next day."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = BODY if cap else json.dumps({"model": "tiny", "messages": [{"role": "user", "content": [image]}]}).encode()
    provider.received.clear()
    with ExitStack() as stack:
        if cap:
            poor = provider_at(provider, cap=Cap(1000, 1000))
            service = stack.enter_context(running_overflow(tmp_path, poor))
        folder = tmp_path / "gateway"
        folder.mkdir()
        gateway = stack.enter_context(gateway_at(folder, engine, service.settings.port))
        wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
        engine.hold.clear()
        people = stack.enter_context(ThreadPoolExecutor(1))
        running = people.submit(gateway.ask, "POST", CHAT, body=BODY)
        wait_for(lambda: engine.running == 1, "the first request")
        reply = gateway.ask("POST", CHAT, "X-LLM-Refusal-Status: 200", body=body)
        assert (reply.status, reply.code) == (429, "queue_full")
        assert 0 < int(reply.headers["retry-after"]) <= 60
        engine.hold.set()
        assert running.result().status == 200
    assert provider.received == []


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
    without_engine: RunningGateway, provider: ProviderDouble, headers: tuple[str, ...], leaves: bool
) -> None:
    for key in (CLIENT_KEY, SECOND_KEY):
        reply = without_engine.ask("POST", CHAT, *(f"X-Data-Class: {each}" for each in headers), key=key, body=BODY)
        assert (reply.status == 200) == (leaves and key == CLIENT_KEY)
    assert len(provider.received) == (1 if leaves else 0)


def test_internal_data_leaves_where_the_config_allows_it(
    tmp_path: Path, engine: EngineDouble, service: RunningOverflow, provider: ProviderDouble
) -> None:
    provider.received.clear()
    with gateway_at(tmp_path, engine, service.settings.port, overflow=overflow_spec(internal=True)) as gateway:
        make_unhealthy(gateway, engine)
        assert gateway.ask("POST", CHAT, "X-Data-Class: internal", body=BODY).status == 200
        assert gateway.ask("POST", CHAT, "X-Data-Class: sensitive", body=BODY).status == 503
    assert len(provider.received) == 1


@pytest.mark.parametrize("wrong", ["no key", "no JSON", "no model", "unknown model"])
def test_a_wrong_request_never_leaves(without_engine: RunningGateway, provider: ProviderDouble, wrong: str) -> None:
    body = {"no JSON": b"{", "no model": b"{}", "unknown model": b'{"model": "x"}'}.get(wrong, BODY)
    reply = without_engine.ask("POST", CHAT, key=None if wrong == "no key" else CLIENT_KEY, body=body)
    assert 400 <= reply.status < 500
    assert provider.received == []


def test_a_service_that_is_gone_is_as_none(
    tmp_path: Path, engine: EngineDouble, provider: ProviderDouble, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(running_overflow(tmp_path_factory.mktemp("own"), provider_at(provider)))
        gateway = stack.enter_context(gateway_at(tmp_path, engine, service.settings.port))
        make_unhealthy(gateway, engine)
        service.kill()
        wait_for(lambda: "DOWN" in states(gateway, "overflow"), "HAProxy to see it")
        assert gateway.ask("POST", CHAT, body=BODY).code == "engine_unavailable"
        engine.faults.clear()
        wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
        assert gateway.ask("POST", CHAT, body=BODY).status == 200


def test_what_the_engine_refuses_stays_refused(
    gateway: RunningGateway, engine: EngineDouble, provider: ProviderDouble
) -> None:
    """Only a missing place or engine sends a request away, never an engine's answer."""
    wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
    for status in (400, 401, 404, 413, 422, 429, 500, 503):
        engine.status = status
        reply = gateway.ask("POST", CHAT, body=BODY)
        assert (reply.status, reply.code, "x-served-by" in reply.headers) == (status, "refused", False)
    assert provider.received == []


def test_an_estimate_above_the_deadline_sends_public_requests_away(
    people: ThreadPoolExecutor, tmp_path: Path, engine: EngineDouble, service: RunningOverflow, provider: ProviderDouble
) -> None:
    """Below the deadline public requests wait like all others."""
    provider.received.clear()
    classes = ClassesSpec.model_validate({"interactive": {"deadline_s": 5}})
    fields: dict[str, Any] = {"max_queue": 60, "queue_timeout_s": 60, "classes": classes}
    with gateway_at(tmp_path, engine, service.settings.port, **fields) as gateway:
        wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
        engine.token_s = 0.4 / len(TOKENS)
        for _ in range(3):
            assert (
                gateway.ask("POST", CHAT, body=json.dumps(json.loads(BODY) | {"stream": True}).encode()).status == 200
            )
        engine.token_s = 0
        engine.hold.clear()
        public: Callable[[], Any] = lambda: people.submit(gateway.ask, "POST", CHAT, body=BODY)  # noqa: E731
        held = [public()]
        wait_for(lambda: engine.running == 1, "the engine is full")
        held.append(public())
        wait_for(lambda: gateway.waiting() == 1, "a public request waits")
        assert provider.received == []
        for waiting in range(2, 40):
            held.append(public())
            wait_for(lambda: gateway.waiting() == waiting or held[-1].done(), "it waits or is answered")  # noqa: B023
            if held[-1].done():
                break
        away = held.pop().result()
        assert (away.status, away.headers["x-served-by"], len(provider.received)) == (200, "overflow/first", 1)
        refused = gateway.ask("POST", CHAT, key=SECOND_KEY, body=BODY)
        assert (refused.status, refused.code) == (429, "would_wait_too_long")
        assert int(refused.headers["retry-after"]) > 0
        engine.hold.set()
        assert {each.result().status for each in held} == {200}
        assert not any("x-served-by" in each.result().headers for each in held)
    assert len(provider.received) == 1


@pytest.mark.parametrize("key", [CLIENT_KEY, SECOND_KEY], ids=["public", "sensitive"])
def test_a_request_that_was_let_in_stays_here_although_it_waits_too_long(
    people: ThreadPoolExecutor,
    tmp_path: Path,
    engine: EngineDouble,
    service: RunningOverflow,
    provider: ProviderDouble,
    *,
    key: str,
) -> None:
    """The estimate was too low: no request has ended yet. HAProxy cannot move a request from a queue elsewhere."""
    provider.received.clear()
    with gateway_at(tmp_path, engine, service.settings.port, max_queue=5, queue_timeout_s=1) as gateway:
        wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
        engine.hold.clear()
        first = people.submit(gateway.ask, "POST", CHAT, key=SECOND_KEY, body=BODY)
        wait_for(lambda: engine.running == 1, "the engine is full")
        reply = gateway.ask("POST", CHAT, key=key, body=BODY)
        assert (reply.status, reply.code) == (429, "queue_timeout")
        engine.hold.set()
        assert first.result().status == 200
    assert provider.received == []


def test_a_client_above_its_share_stays_here(
    people: ThreadPoolExecutor, tmp_path: Path, engine: EngineDouble, service: RunningOverflow, provider: ProviderDouble
) -> None:
    """A full queue sends public requests away; a client above its share gets 429 while others wait."""
    provider.received.clear()
    provider.status = 200
    clients = (CLIENTS[0].model_copy(update={"share": 0.5}), CLIENTS[1])
    with gateway_at(tmp_path, engine, service.settings.port, max_queue=3, clients=clients) as gateway:
        wait_for(lambda: gateway.ask("GET", "/health").status == 200, "the engine")
        engine.hold.clear()
        # Alone it may have the place and the whole queue.
        held = [people.submit(gateway.ask, "POST", CHAT, body=BODY)]
        wait_for(lambda: engine.running == 1, "the place is taken")
        held += [people.submit(gateway.ask, "POST", CHAT, body=BODY) for _ in range(3)]
        wait_for(lambda: gateway.waiting() == 3, "the queue is full")
        assert gateway.ask("POST", CHAT, body=BODY).headers["x-served-by"] == "overflow/first"
        held.append(people.submit(gateway.ask, "POST", CHAT, key=SECOND_KEY, body=BODY))
        wait_for(lambda: gateway.waiting() == 4, "the other client")
        reply = gateway.ask("POST", CHAT, body=BODY)
        assert (reply.status, reply.code) == (429, "share_exceeded")
        engine.hold.set()
        assert {each.result().status for each in held} == {200}
    assert len(provider.received) == 1


def test_a_client_above_its_share_stays_here_after_its_wait_for_an_engine(
    people: ThreadPoolExecutor, tmp_path: Path, service: RunningOverflow, provider: ProviderDouble
) -> None:
    """Its own requests fill the queue: a provider would give it more than its share."""
    provider.received.clear()
    clients = (ClientSpec(name="default", data="public", share=0.3), ClientSpec(name="second", data="sensitive"))
    spec = gateway_spec(clients=clients, overflow=overflow_spec(), max_queue=4, no_engine_wait_s=60)
    own = json.dumps({**json.loads(BODY), "model": "own"}).encode()  # no provider has it
    with running_engine() as first, running_engine() as second, ExitStack() as stack:
        first.models, second.models = ("own",), ("own", "tiny")
        pool = engine_pool({"host-1": first, "host-2": second}, names=("own", "tiny"))
        gateway = stack.enter_context(gateway_before(tmp_path, [pool], spec, overflow_port=service.settings.port))
        stack.callback(first.hold.set)
        stack.callback(second.hold.set)
        wait_for(lambda: states(gateway, "main") == ["UP", "UP"], "the engines")
        wait_for(lambda: states(gateway, "overflow") == ["UP"], "the service")
        first.hold.clear()
        second.hold.clear()
        gateway.admin("set server main/host-2 state maint")
        gateway.admin("set server overflow/overflow state maint")  # else it leaves at once: no engine has the model
        waited = people.submit(gateway.ask, "POST", CHAT, body=BODY)
        asked = []
        for number, key in enumerate([CLIENT_KEY] * 3 + [SECOND_KEY] * 2):
            asked.append(people.submit(gateway.ask, "POST", CHAT, key=key, body=own))
            wait_for(lambda number=number: first.running == 1 and gateway.waiting() == number, "it waits")  # type: ignore[misc]
        gateway.admin("set server overflow/overflow state ready")
        wait_for(lambda: states(gateway, "overflow") == ["UP"], "the service")
        gateway.admin("set server main/host-2 state ready")
        reply = waited.result()
        assert (reply.status, reply.code) == (429, "share_exceeded")
        first.hold.set()
        second.hold.set()
        assert {each.result().status for each in asked} == {200}
    assert provider.received == []
