"""Another model answers while too many requests wait for the one that the client asked for."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.spec.gateway_classes import Degrade
from serving.spec.gateway_clients import ClientSpec
from tests.doubles.engine import TOKENS, EngineDouble, running_engine
from tests.gateways import (
    CLIENT,
    CLIENT_KEY,
    SECOND_CLIENT,
    SECOND_KEY,
    Reply,
    RunningGateway,
    engine_pool,
    gateway_before,
    gateway_spec,
    wait_for,
)
from tests.lua import LUA_DIR, RUNTIMES


@pytest.fixture
def engines() -> Iterator[dict[str, EngineDouble]]:
    with running_engine() as large, running_engine() as small:
        large.models, small.models = ("large", "contract"), ("small",)
        yield {"large": large, "small": small}


@pytest.fixture
def people(engines: dict[str, EngineDouble]) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool
        for each in engines.values():
            each.hold.set()


def ask(
    gateway: RunningGateway, *headers: str, model: str = "large", key: str = CLIENT_KEY, name: str = "", **body: Any
) -> Reply:
    named = (f"X-Request-Id: {name}",) if name else ()
    data = json.dumps({"model": model, "prompt": "hello", **body}).encode()
    return gateway.ask("POST", "/v1/completions", *headers, *named, key=key, body=data)


def wait_in(
    people: ThreadPoolExecutor, gateway: RunningGateway, engine: EngineDouble, pool: str
) -> list[Future[Reply]]:
    """Let the gateway learn that a request takes half a second, and four wait behind one that the engine holds."""
    engine.token_s = 0.5 / len(TOKENS)
    for _ in range(3):
        assert ask(gateway, stream=True).status == 200
    engine.token_s = 0
    engine.hold.clear()
    held = [people.submit(ask, gateway)]
    wait_for(lambda: engine.running == 1, "one runs")
    held += [people.submit(ask, gateway, model="contract") for _ in range(4)]
    wait_for(lambda: gateway.waiting(pool) == 4, "four wait")
    return held


def received(engine: EngineDouble, name: str) -> dict[str, str]:
    """Return the headers with which the request `name` came to the engine."""
    (found,) = [each for each in engine.received if each.headers.get("x-request-id") == name]
    return found.headers


def test_another_pool_answers_above_a_wait(
    people: ThreadPoolExecutor, engines: dict[str, EngineDouble], tmp_path: Path
) -> None:
    large, small = engines["large"], engines["small"]
    pools = [
        engine_pool({"gpu-1": large}, names=("large", "contract"), name="main"),
        engine_pool({"gpu-2": small}, names=("small",), name="small"),
    ]
    only_large = ClientSpec.model_validate({"name": SECOND_CLIENT, "models": ["large", "contract"]})
    spec = gateway_spec(
        clients=(ClientSpec(name=CLIENT), only_large), degrade=(Degrade(model="large", to="small", above_wait_s=1),)
    )
    with gateway_before(tmp_path, pools, spec) as gateway:
        assert "x-degraded" not in ask(gateway, name="early").headers
        held = wait_in(people, gateway, large, "main")
        small.faults.add("any_model")
        reply = ask(gateway, "X-LLM-Model: contract", name="late")
        assert (reply.status, reply.headers["x-degraded"]) == (200, "model")
        assert received(small, "late")["x-llm-model"] == "small"
        line = gateway.logged("late")
        assert (line["decision"], line["degraded"], line["model"], line["pool"], line["host"]) == (
            "degraded", "model", "small", "small", "gpu-2",
        )  # fmt: skip
        stays = [
            people.submit(ask, gateway, key=SECOND_KEY, name="not-allowed"),
            people.submit(ask, gateway, "X-LLM-Model: small", model="contract", name="no-rule"),
        ]
        wait_for(lambda: gateway.waiting("main") == 6, "who may not use it waits")
        gateway.admin("disable server small/gpu-2")
        stays.append(people.submit(ask, gateway, name="nobody-there"))
        wait_for(lambda: gateway.waiting("main") == 7, "who finds no engine there waits")
        large.hold.set()
        assert {future.result().status for future in (*held, *stays)} == {200}
        assert not any("x-degraded" in future.result().headers for future in (*held, *stays))
        assert "x-llm-model" not in received(large, "no-rule")


def test_another_model_of_the_same_pool_answers_above_a_wait(
    people: ThreadPoolExecutor, engines: dict[str, EngineDouble], tmp_path: Path
) -> None:
    large = engines["large"]
    pools = [engine_pool({"gpu-1": large}, names=("large", "contract"))]
    special = ClientSpec.model_validate({"name": SECOND_CLIENT, "model_caps": {"contract": {"max_tokens": 9}}})
    spec = gateway_spec(
        clients=(ClientSpec(name=CLIENT), special), degrade=(Degrade(model="contract", to="large", above_wait_s=1),)
    )
    with gateway_before(tmp_path, pools, spec) as gateway:
        held = wait_in(people, gateway, large, "main")
        late = people.submit(ask, gateway, model="contract", name="late")
        wait_for(lambda: gateway.waiting("main") == 5, "it waits")
        stays = people.submit(ask, gateway, model="contract", key=SECOND_KEY, name="other-caps")
        wait_for(lambda: gateway.waiting("main") == 6, "it waits too")
        large.hold.set()
        assert (stays.result().status, "x-degraded" in stays.result().headers) == (200, False)
        assert late.result().headers["x-degraded"] == "model"
        assert received(large, "late")["x-llm-model"] == "large"
        assert {future.result().status for future in held} == {200}


def test_a_model_whose_only_host_is_away_answers_for_no_other(
    people: ThreadPoolExecutor, engines: dict[str, EngineDouble], tmp_path: Path
) -> None:
    pool = engine_pool(engines, names=("large", "contract", "small"))
    spec = gateway_spec(degrade=(Degrade(model="contract", to="small", above_wait_s=1),))
    with gateway_before(tmp_path, [pool], spec) as gateway:
        gateway.admin("disable server main/small")
        held = wait_in(people, gateway, engines["large"], "main")
        late = people.submit(ask, gateway, model="contract", name="late")
        wait_for(lambda: gateway.waiting("main") == 5, "it waits for its own model")
        engines["large"].hold.set()
        assert {future.result().status for future in (*held, late)} == {200}
        assert "x-degraded" not in late.result().headers


LOOK = """
package.path = ...
core = { register_task = function() end }
local main = { name = "main", places = 1, up = 1, known = true, ran_s = 40, done = 1, context_tokens = 9 }
local small = { name = "small", places = 1, up = 1, known = true, ran_s = 1, done = 1, context_tokens = 9 }
package.loaded.policy = {
  pools = { main, small }, models = { small = { pool = 2, name = "small" } }, clients = { default = {} }, several = 2,
  max_queue = 1, longest_queue = 2, deadlines_s = { interactive = 60 }, retry_after_s = 5,
  degrade = { large = { to = "small", above_wait_s = 1 } },
}
package.loaded.places = { seconds = function() return 100 end, any_takes = function() return true end }
package.loaded.answers, package.loaded.models = {}, {}
local txn = {
  f = { be_conn = function() return 9 end, queue = function() return 1 end },
  c = { table_conn_cur = function() return 2 end },
  get_var = function() return "default" end,
}
local waits, client = require("waits"), { share = 0.5 }
local request = { pool = main, name = "large", class = "interactive", tokens = 1, fields = {} }
local went = require("degrade").to_other_pool(txn, client, request)
local turns = small.turns
local refusal = waits.queue(txn, small, client)
return went, turns, refusal.code, small.turns[client]
"""


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_to_look_at_a_full_pool_moves_no_turn_there(version: str) -> None:
    lua = RUNTIMES[version](unpack_returned_tuples=True)
    went, turns, code, turn = lua.execute(LOOK, f"{LUA_DIR}/?.lua")
    assert (went, turns, code) == (False, None, "share_exceeded")
    assert turn > 100
