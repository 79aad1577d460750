"""Proof that sensitive data never leaves: a provider in a network of its own, and a capture of every packet to it.

Real HAProxy with our Lua, the real service, and a real network between it and the provider. A request carries a text
that occurs nowhere else. The provider ends TLS and writes down what it read, so that encryption hides nothing; the
capture counts packets, so that a connection without a body would be seen too.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.paths import CHECKOUT
from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from services.overflow.settings import Cap
from serving.spec.gateway_classes import ClassesSpec, Degrade
from serving.spec.gateway_clients import ClientSpec
from serving.spec.models import ServingSpec
from tests.doubles.engine import TOKENS, EngineDouble, running_engine
from tests.gateways import (
    CLIENT_KEY,
    SECOND_KEY,
    Reply,
    RunningGateway,
    engine_pool,
    gateway_before,
    gateway_spec,
    ollama_serving,
    vllm_serving,
    wait_for,
)
from tests.overflows import ALIAS, EMBEDDER, RICH, RunningOverflow, overflow_spec, provider_at, running_overflow

NETWORK = "llm-away"
NUMBER = os.getpid() % 200
"""Two runs at the same time must not meet: a probe of the other's would be seen as a packet of this one."""
HERE, THERE = f"198.18.{NUMBER}.1", f"198.18.{NUMBER}.2"
PORT = 443
ETH_P_ALL = 3

PUBLIC, SENSITIVE = ClientSpec(name="default", data="public"), ClientSpec(name="second", data="sensitive")
KEYS = {PUBLIC.name: CLIENT_KEY, SENSITIVE.name: SECOND_KEY}

ENDPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"stream": False}),
    "chat, stream": ("/v1/chat/completions", {"stream": True}),
    "completions": ("/v1/completions", {"stream": False}),
    "completions, stream": ("/v1/completions", {"stream": True}),
    "embeddings": ("/v1/embeddings", {"model": EMBEDDER}),
    "messages": ("/v1/messages", {"stream": False}),
    "messages, stream": ("/v1/messages", {"stream": True}),
    "responses": ("/v1/responses", {}),
}
LEAVE = [name for name in ENDPOINTS if name.startswith(("chat", "completions", "embeddings"))]
"""Those that providers can answer."""

STATUS = {"up": 200, "full": 429, "down": 503}
"""What a request gets that must stay, by the engine's state."""

CAPPED = 'llm_overflow_requests_total{outcome="month_cap",provider="first"}'

CLASSES = {
    "sensitive client": (SENSITIVE, ()),
    "sensitive client that says public": (SENSITIVE, ("X-Data-Class: public",)),
    "public client that says sensitive": (PUBLIC, ("X-Data-Class: sensitive",)),
    "public client that says internal": (PUBLIC, ("X-Data-Class: internal",)),
    "public client that says what nobody knows": (PUBLIC, ("X-Data-Class: top-secret",)),
    "public client that says both": (PUBLIC, ("X-Data-Class: public", "X-Data-Class: sensitive")),
    "sensitive client that forges headers": (SENSITIVE, ("X-LLM-Data-Class: public", "X-LLM-Client: default")),
}


@dataclass
class Capture:
    """Every packet on the way to the provider and back."""

    packets: int = 0
    texts: list[bytes] = field(default_factory=list)

    def clear(self) -> None:
        self.packets, self.texts = 0, []


@dataclass
class Away:
    """The provider's side: its record of bodies, its switch, and the capture."""

    record: Path
    switch: Path
    capture: Capture
    ca: Path

    def bodies(self) -> bytes:
        """Return all that the provider ever read."""
        return self.record.read_bytes() if self.record.exists() else b""

    def answers(self, *, well: bool) -> None:
        """Let the provider answer, or fail with 500."""
        self.switch.write_text("200" if well else "500")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _network() -> Iterator[str]:
    """Make a network namespace, joined to this one by a pair of interfaces; yield the name of the one here."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    here, there = f"{NETWORK}{os.getpid() % 10000}"[:15], "away0"
    space = f"{NETWORK}-{os.getpid()}"
    _ip("netns", "add", space)
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", space)
        _ip("address", "add", f"{HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", space, "address", "add", f"{THERE}/30", "dev", there)
        _ip("-n", space, "link", "set", there, "up")
        yield space
    finally:
        subprocess.run(["ip", "link", "delete", here], check=False, capture_output=True)
        _ip("netns", "delete", space)


@contextmanager
def _capture(interface: str) -> Iterator[Capture]:
    """Read every IP packet on `interface`."""
    seen, stop = Capture(), threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as raw:
        raw.bind((interface, ETH_P_ALL))
        raw.settimeout(0.05)

        def read() -> None:
            while not stop.is_set():
                try:
                    data, address = raw.recvfrom(65536)
                except TimeoutError:
                    continue
                # Neighbours and router advertisements carry no request.
                if address[1] == 0x0800:
                    seen.packets += 1
                    seen.texts.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield seen
        finally:
            stop.set()
            reader.join()


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Away]:
    folder = tmp_path_factory.mktemp("away")
    pem = folder / "provider.pem"
    pem.write_text(server_certificate(folder / "kept.pem", folder / "ca", (THERE,), 2, datetime.now(UTC)))
    with _network() as space, _capture(f"{NETWORK}{os.getpid() % 10000}"[:15]) as capture:
        away = Away(folder / "bodies", folder / "switch", capture, folder / "ca" / CA_CERTIFICATE)
        away.answers(well=True)
        command = ["ip", "netns", "exec", space, sys.executable, "-m", "tests.doubles.llm_provider_away"]
        words = [THERE, str(PORT), str(pem), str(away.record), str(away.switch)]
        with subprocess.Popen([*command, *words], cwd=CHECKOUT) as provider:
            try:
                wait_for(_answers, "the provider")
                yield away
            finally:
                provider.terminate()


def _answers() -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((THERE, PORT)) == 0


@dataclass
class Stack:
    """A gateway, an engine, the service."""

    gateway: RunningGateway
    engine: EngineDouble
    overflow: RunningOverflow


@contextmanager
def _stack(
    folder: Path, away: Away, cap: Cap = RICH, serving: ServingSpec | None = None, **fields: Any
) -> Iterator[Stack]:
    """Run an Ollama, whose gateway passes all endpoints, or the engine of `serving`; `fields` are of GatewaySpec."""
    provider = replace(provider_at(PORT, ca=str(away.ca), cap=cap), url=f"https://{THERE}/v1")
    # The service would send internal data, so that the gateway's decision alone is on trial.
    both = (PUBLIC.name, SENSITIVE.name)
    spec = overflow_spec()
    with ExitStack() as stack:
        service = stack.enter_context(running_overflow(folder, provider, clients=both, internal=True))
        engine = stack.enter_context(running_engine())
        engine.models, engine.faults = (ALIAS, EMBEDDER), {"open_paths", "no_key_needed"}
        gateway = gateway_spec(**{"clients": (PUBLIC, SENSITIVE), "overflow": spec, "max_queue": 0} | fields)
        pool = replace(engine_pool({"host-1": engine}, names=engine.models), serving=serving or ollama_serving())
        port = service.settings.port
        running = stack.enter_context(gateway_before(folder, [pool], gateway, overflow_port=port))
        wait_for(lambda: running.ask("GET", "/health").status == 200, "the engine")
        wait_for(lambda: "overflow,overflow," in running.admin("show stat"), "HAProxy")
        yield Stack(running, engine, service)


def _ask(gateway: RunningGateway, endpoint: str, client: ClientSpec, headers: tuple[str, ...], text: str) -> Reply:
    path, options = ENDPOINTS[endpoint]
    messages = {"messages": [{"role": "user", "content": text}], "max_tokens": 5}
    prompts: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": messages,
        "/v1/messages": messages,
        "/v1/completions": {"prompt": text, "max_tokens": 5},
        "/v1/embeddings": {"input": text},
        "/v1/responses": {"input": text, "max_output_tokens": 5},
    }
    body = json.dumps({"model": ALIAS, **prompts[path], **options}).encode()
    return gateway.ask("POST", path, *headers, key=KEYS[client.name], body=body)


def _make(stack: Stack, away: Away, engine: str, provider: str) -> list[socket.socket]:
    """Bring engine and provider into a state; return the connections that hold the engine's places."""
    held: list[socket.socket] = []
    away.answers(well=provider == "up")
    if engine == "down":
        stack.engine.faults.add("unhealthy")
        wait_for(lambda: stack.gateway.ask("GET", "/health").status == 503, "the engine to be down")
    elif engine == "full":
        stack.engine.hold.clear()
        connection = stack.gateway.connect()
        body = b'{"model": "tiny", "prompt": "x"}'
        lines = ("POST /v1/completions HTTP/1.1", "Host: g", f"Authorization: Bearer {SECOND_KEY}")
        head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
        connection.sendall(head.encode() + body)
        wait_for(lambda: stack.engine.running > 0, "a full engine")
        held.append(connection)
    return held


def _release(stack: Stack, held: list[socket.socket]) -> None:
    """Let the engine be ready and free again."""
    for connection in held:
        connection.close()
    stack.engine.hold.set()
    stack.engine.faults.discard("unhealthy")
    wait_for(lambda: stack.gateway.ask("GET", "/health").status == 200, "the engine")
    wait_for(lambda: stack.engine.running == 0, "the engine to be free")


@pytest.mark.parametrize("cap", ["left", "reached"])
def test_no_byte_of_sensitive_data_leaves(away: Away, tmp_path: Path, cap: str) -> None:
    """All states of engine, provider and cap; all endpoints; all ways to be sensitive."""
    asked = 0
    limit = RICH if cap == "left" else Cap(1, 1)
    with _stack(tmp_path, away, limit) as stack:
        for engine in ("up", "full", "down"):
            for provider in ("up", "down"):
                held = _make(stack, away, engine, provider)
                away.capture.clear()
                for endpoint in ENDPOINTS:
                    for way, (client, headers) in CLASSES.items():
                        asked += 1
                        text = f"canary-{cap}-{engine}-{provider}-{asked}-stays"
                        reply = _ask(stack.gateway, endpoint, client, headers, text)
                        assert "x-served-by" not in reply.headers, (engine, provider, endpoint, way)
                        assert reply.status == STATUS[engine]
                if cap == "reached" and engine != "up":  # then public data stays, too
                    code = {"full": "queue_full", "down": "engine_unavailable"}[engine]
                    assert _ask(stack.gateway, "chat", PUBLIC, (), "public").code == code
                    assert stack.overflow.metrics()[CAPPED] > 0  # it was the service that did not send it
                assert away.capture.packets == 0, (engine, provider)
                _release(stack, held)
        assert b"-stays" not in away.bodies()
        assert stack.overflow.spent() == 0
        assert "rejected" not in stack.overflow.log()
    assert asked == 3 * 2 * len(ENDPOINTS) * len(CLASSES)


def test_the_proof_can_fail(away: Away, tmp_path: Path) -> None:
    """A public request in the same states is seen in both places: in the provider's record and in the capture."""
    with _stack(tmp_path, away) as stack:
        for engine in ("full", "down"):
            held = _make(stack, away, engine, "up")
            wait_for(stack.overflow.ready, "the service")
            for endpoint in LEAVE:
                away.capture.clear()
                text = f"canary-{engine}-{endpoint.replace(', ', '-')}-leaves"
                reply = _ask(stack.gateway, endpoint, PUBLIC, (), text)
                assert (reply.status, reply.headers["x-served-by"]) == (200, "overflow/first")
                assert text.encode() in away.bodies()
                wait_for(lambda: away.capture.packets > 4, "packets")
                # TLS hides the text from the capture. That is why the provider keeps a record.
                assert text.encode() not in b"".join(away.capture.texts)
            _release(stack, held)


def test_no_byte_of_sensitive_data_leaves_from_a_queue(away: Away, tmp_path: Path) -> None:
    """Requests that wait, get shorter answers, wait in vain, or are refused because they would wait too long."""
    classes = ClassesSpec.model_validate({"interactive": {"deadline_s": 3}})
    fields: dict[str, Any] = {"max_queue": 100, "queue_timeout_s": 2, "classes": classes}
    degrade = (Degrade(model=ALIAS, max_tokens=2, above_wait_s=1),)
    seen: set[str] = set()
    with _stack(tmp_path, away, serving=vllm_serving(8000), degrade=degrade, **fields) as stack:
        people = ThreadPoolExecutor(80)

        def ask(client: ClientSpec, headers: tuple[str, ...], text: str, endpoint: str = "chat") -> "Future[Reply]":
            return people.submit(_ask, stack.gateway, endpoint, client, headers, text)

        stack.engine.token_s = 0.5 / len(TOKENS)
        for _ in range(3):  # so that the gateway knows how long a request takes
            assert ask(SENSITIVE, (), "how long", "chat, stream").result().status == 200
        for provider in ("up", "down"):
            held = _make(stack, away, "full", provider)
            away.capture.clear()
            text = f"canary-{provider}-of-the-queue-stays"
            asked = [ask(*way, text, endpoint) for endpoint in ENDPOINTS for way in CLASSES.values()]
            for reply in (each.result() for each in asked):
                assert "x-served-by" not in reply.headers
                seen.add(json.loads(reply.body)["error"]["code"])
            assert away.capture.packets == 0
            if provider == "up":  # the same state lets public data leave
                public = [ask(PUBLIC, (), "canary-of-the-queue-leaves") for _ in range(12)]
                replies = [each.result() for each in public]  # all of them: none may still be on its way later
                assert any("x-served-by" in reply.headers for reply in replies)
            _release(stack, held)
        people.shutdown()
        decisions = {line["decision"] for line in stack.gateway.log_lines()}
    assert {"would_wait_too_long", "queue_timeout"} <= seen
    assert "degraded" in decisions
    assert b"-stays" not in away.bodies()
    assert b"canary-of-the-queue-leaves" in away.bodies()


def test_the_service_refuses_what_the_gateway_should_not_send(away: Away, tmp_path: Path) -> None:
    """The second lock: a request with the wrong class is refused by the service too, whatever the gateway says."""
    provider = replace(provider_at(PORT, ca=str(away.ca)), url=f"https://{THERE}/v1")
    away.answers(well=True)
    with running_overflow(tmp_path, provider, clients=("default",)) as service:
        away.capture.clear()
        for data, client in (("sensitive", "default"), ("internal", "default"), ("public", "second")):
            messages = [{"role": "user", "content": "canary-second-lock"}]
            assert service.ask(data=data, client=client, messages=messages).status == 403
        assert away.capture.packets == 0
        assert b"canary-second-lock" not in away.bodies()
        assert service.ask(messages=[{"role": "user", "content": "canary-of-the-control"}]).status == 200
        assert b"canary-of-the-control" in away.bodies()


def test_a_provider_with_another_certificate_gets_nothing(away: Away, tmp_path: Path) -> None:
    """TLS is checked before the request is sent."""
    server_certificate(tmp_path / "kept.pem", tmp_path / "ca", ("127.0.0.1",), 2, datetime.now(UTC))
    other = tmp_path / "ca" / CA_CERTIFICATE
    provider = replace(provider_at(PORT, ca=str(other)), url=f"https://{THERE}/v1")
    away.answers(well=True)
    with running_overflow(tmp_path, provider) as service:
        assert service.ask(messages=[{"role": "user", "content": "canary-wrong-certificate"}]).status == 503
        assert service.spent() == 0
    assert b"canary-wrong-certificate" not in away.bodies()
