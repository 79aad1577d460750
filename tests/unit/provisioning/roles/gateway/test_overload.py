"""Who waits, in which order, and who is refused at once."""

import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPSConnection

import pytest

from provisioning.roles.gateway.policy import policy_text
from provisioning.roles.gateway.pools import loopback_pool
from serving.spec.gateway_classes import ClassesSpec, Degrade
from tests.doubles.engine import TOKENS, EngineDouble
from tests.gateway_requests import ask, clients, computed, hold, posts
from tests.gateways import (
    ADDRESS,
    CLIENT_KEY,
    DEADLINE_S,
    ENGINE_HOST,
    POOL,
    SECOND_KEY,
    Reply,
    RunningGateway,
    body_of,
    gateway_spec,
    vllm_serving,
    wait_for,
)
from tests.unit.provisioning.conftest import NewGateway


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


def with_aging(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble, *, aging_s: int
) -> tuple[RunningGateway, list[Future[Reply]]]:
    """Return a gateway whose only place is taken by a request, and that request."""
    aging = ClassesSpec.model_validate({"batch": {"aging_s": aging_s}})
    gateway = new_gateway(clients=clients(**{"class": "batch"}), max_concurrency=1, classes=aging)
    sent = [people.submit(ask, gateway, prompt="first", stream=True)]
    wait_for(lambda: len(computed(engine)) == 1, "the first one runs")
    return gateway, sent


def test_old_batch_goes_before_new_interactive(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    engine.steps = threading.Semaphore(0)
    gateway, sent = with_aging(people, new_gateway, engine, aging_s=0)
    for number, (prompt, key) in enumerate((("batch", CLIENT_KEY), ("interactive", SECOND_KEY)), 1):
        sent.append(people.submit(ask, gateway, key=key, prompt=prompt, stream=True))
        wait_for(lambda number=number: gateway.waiting() == number, prompt)  # type: ignore[misc]
    engine.steps.release(100)
    assert {future.result().status for future in sent} == {200}
    assert [each["prompt"] for each in computed(engine)] == ["first", "batch", "interactive"]


def test_batch_goes_before_interactive_that_comes_after_its_aging(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    engine.steps = threading.Semaphore(0)
    gateway, sent = with_aging(people, new_gateway, engine, aging_s=1)

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
        each.headers.get("x-llm-max-tokens") for each in posts(engine) if each.headers["x-request-id"] == "late"
    ] == ["2"]
    line = gateway.logged("late")
    assert (line["decision"], line["degraded"]) == ("degraded", "length")
