"""Requests of clients with limits, and requests that a test holds in an engine or in the queue."""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from serving.spec.gateway_clients import ClientSpec
from tests.doubles.engine import EngineDouble
from tests.gateways import (
    CLIENT,
    CLIENT_KEY,
    SECOND_CLIENT,
    Reply,
    RunningGateway,
    wait_for,
)


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


def posts(engine: EngineDouble) -> list[Any]:
    """Return the completions that the engine got, in order."""
    return [got for got in engine.received if got.target == "/v1/completions"]


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
