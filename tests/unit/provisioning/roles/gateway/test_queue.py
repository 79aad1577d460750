"""A full queue, a too long wait, an engine that is down or slow: each gets its own answer."""

import json
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import CLIENT_KEY, Reply, RunningGateway, free_port, running_gateway, wait_for
from tests.unit.provisioning.conftest import NewGateway

CHAT = b'{"model":"tiny"}'


def ask(gateway: RunningGateway, request_id: str = "") -> Reply:
    headers = (f"X-Request-Id: {request_id}",) if request_id else ()
    return gateway.ask("POST", "/v1/chat/completions", *headers, body=CHAT)


def fill(
    people: ThreadPoolExecutor, gateway: RunningGateway, engine: EngineDouble, *, running: int, waiting: int
) -> list[Future[Reply]]:
    """Let `running` requests run in the engine, which holds them, and `waiting` requests wait behind them."""
    engine.hold.clear()
    futures = [people.submit(ask, gateway) for _ in range(running)]
    wait_for(lambda: engine.running == running, "running requests")
    futures += [people.submit(ask, gateway) for _ in range(waiting)]
    wait_for(lambda: gateway.waiting() == waiting, "waiting requests")
    return futures


@pytest.mark.parametrize(("running", "waiting"), [(1, 0), (1, 1), (2, 3)])
def test_request_beyond_the_queue_gets_429_at_once(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble, running: int, waiting: int
) -> None:
    gateway = new_gateway(max_concurrency=running, max_queue=waiting)
    served = fill(people, gateway, engine, running=running, waiting=waiting)
    reply = ask(gateway, "too-many")
    assert (reply.status, reply.code) == (429, "queue_full")
    assert int(reply.headers["retry-after"]) > 0
    assert gateway.logged("too-many")["queue_ms"] == -1
    engine.hold.set()
    assert [future.result().status for future in served] == [200] * (running + waiting)


def test_engine_never_gets_more_requests_at_a_time_than_its_limit(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(max_concurrency=2, max_queue=10)
    served = fill(people, gateway, engine, running=2, waiting=6)
    assert engine.running == 2
    engine.hold.set()
    assert {future.result().status for future in served} == {200}


def test_request_that_waits_too_long_gets_429_not_503(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    """HAProxy itself answers 503 here, which clients treat as a broken service and do not retry."""
    gateway = new_gateway(max_concurrency=1, max_queue=5, queue_timeout_s=1)
    served = fill(people, gateway, engine, running=1, waiting=0)
    reply = ask(gateway, "waited")
    assert (reply.status, reply.code) == (429, "queue_timeout")
    assert int(reply.headers["retry-after"]) > 0
    line = gateway.logged("waited")
    # Releases before 640e25369 (2.4.0, Ubuntu 22.04's first 2.4.14) log the 503 that the rule replaces.
    is_old = gateway.admin("show info").startswith(("Name: HAProxy\nVersion: 2.4.0", "Name: HAProxy\nVersion: 2.4.14"))
    assert (line["status"], line["ended"]) == (503 if is_old else 429, "sQ")
    assert line["queue_ms"] >= 1000
    engine.hold.set()
    assert served[0].result().status == 200


def test_waiting_request_is_served_in_turn(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(max_concurrency=1, max_queue=5)
    served = fill(people, gateway, engine, running=1, waiting=3)
    engine.hold.set()
    assert [future.result().status for future in served] == [200] * 4
    assert max(line["queued_before"] for line in gateway.log_lines()) >= 2


@pytest.mark.parametrize("asked", [("POST", "/v1/completions", CHAT), ("GET", "/v1/models", b"")], ids=("POST", "GET"))
def test_only_a_request_that_found_no_free_place_has_waited(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble, asked: tuple[str, str, bytes]
) -> None:
    """The log once said of each GET that it had waited."""
    method, path, body = asked
    gateway = new_gateway(max_concurrency=1, max_queue=5)
    assert gateway.ask(method, path, "X-Request-Id: free", body=body).status == 200
    wait_for(lambda: engine.running == 0, "the first request's end")
    (running,) = fill(people, gateway, engine, running=1, waiting=0)
    waiting = people.submit(gateway.ask, method, path, "X-Request-Id: full", body=body)
    wait_for(lambda: gateway.waiting() == 1, "the second request")
    engine.hold.set()
    assert (running.result().status, waiting.result().status) == (200, 200)
    assert (gateway.logged("free")["waited"], gateway.logged("full")["waited"]) == ("-", "yes")


def test_client_that_hangs_up_frees_its_place_in_the_queue(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(max_concurrency=1, max_queue=1)
    (running,) = fill(people, gateway, engine, running=1, waiting=0)
    with gateway.connect() as impatient:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
        impatient.sendall(f"{head}Content-Length: {len(CHAT)}\r\n\r\n".encode() + CHAT)
        wait_for(lambda: gateway.waiting() == 1, "the impatient one waits")
    wait_for(lambda: gateway.waiting() == 0, "the place is free")
    engine.hold.set()
    assert running.result().status == 200
    assert len([got for got in engine.received if got.target == "/v1/completions"]) == 0


def test_client_that_hangs_up_before_the_answer_frees_its_place_at_the_engine(
    new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(max_concurrency=1, max_queue=0)
    engine.hold.clear()
    with gateway.connect() as impatient:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
        impatient.sendall(f"{head}Content-Length: {len(CHAT)}\r\n\r\n".encode() + CHAT)
        wait_for(lambda: engine.running == 1, "it runs")
        assert ask(gateway).code == "queue_full"
    wait_for(lambda: [line for line in gateway.log_lines() if line["ended"].startswith("C")], "the gateway notices")
    engine.hold.set()  # only now could it answer
    assert ask(gateway).status == 200


def test_client_that_hangs_up_in_a_stream_ends_the_engines_work(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(max_concurrency=1, max_queue=0)
    engine.steps = threading.Semaphore(1)
    with start_stream(gateway) as client:
        assert b"one" in client.recv(65536)
    wait_for(gateway.log_lines, "the end of the request in the log")
    engine.steps.release(10)
    wait_for(lambda: engine.broken_off == 1, "the engine notices")
    assert ask(gateway).status == 200


def start_stream(gateway: RunningGateway) -> socket.socket:
    """Return a connection on which a stream has begun: the head has arrived."""
    body = json.dumps({"model": "tiny", "stream": True}).encode()
    connection = gateway.connect()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += connection.recv(1)
    assert data.startswith(b"HTTP/1.1 200")
    return connection


def test_engine_that_was_never_there_gets_503(tmp_path: Path) -> None:
    with running_gateway(tmp_path, free_port()) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices")
        reply = ask(gateway)
        assert (reply.status, reply.code) == (503, "engine_unavailable")
        assert int(reply.headers["retry-after"]) > 0
        health = gateway.ask("GET", "/health", key=None)
        assert (health.status, health.code) == (503, "engine_unavailable")
        assert int(health.headers["retry-after"]) > 0


def test_just_stopped_engine_gets_503_before_a_health_check_fails(tmp_path: Path) -> None:
    with running_engine() as engine, running_gateway(tmp_path, engine) as gateway:
        wait_for(lambda: engine.received, "a health check passes")
        engine.stop_listening()
        reply = ask(gateway, "refused")
        assert (reply.status, reply.code) == (503, "engine_unavailable")
        assert gateway.logged("refused")["ended"] == "SC"
        assert gateway.ask("GET", "/health", key=None).status == 503


def test_engine_that_comes_back_is_served_from_again(tmp_path: Path) -> None:
    port = free_port()
    with running_gateway(tmp_path, port) as gateway:
        wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices that it is down")
        with running_engine(port=port):
            wait_for(lambda: gateway.engine_is("UP"), "HAProxy notices that it is up")
            assert ask(gateway).status == 200


def test_engine_whose_health_fails_gets_no_requests(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    engine.faults.add("unhealthy")
    wait_for(lambda: gateway.engine_is("DOWN"), "three failed checks")
    engine.received.clear()
    assert ask(gateway).code == "engine_unavailable"
    assert not [got for got in engine.received if got.target != "/health"]


def test_503_of_the_engine_itself_is_passed_unchanged(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    engine.faults.add("overloaded")
    reply = ask(gateway)
    assert (reply.status, reply.code) == (503, "overloaded")


def test_engine_drained_by_hand_gets_503(new_gateway: NewGateway) -> None:
    """The engine's unit drains through the admin socket before it stops."""
    gateway = new_gateway()
    gateway.admin("set server main/gpu-1 state drain")
    assert ask(gateway).code == "engine_unavailable"
    gateway.admin("set server main/gpu-1 state ready")
    assert ask(gateway).status == 200


def test_waiting_requests_get_503_if_the_engine_stops(
    people: ThreadPoolExecutor, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway(max_concurrency=1, max_queue=2, queue_timeout_s=2)
    _, waiting = fill(people, gateway, engine, running=1, waiting=1)
    gateway.admin("disable server main/gpu-1")
    assert waiting.result().code == "engine_unavailable"


def test_slow_engine_gets_504(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(request_timeout_s=1)
    engine.hold.clear()
    reply = ask(gateway)
    assert (reply.status, reply.code) == (504, "engine_timeout")


def test_engine_that_breaks_off_before_its_answer_gets_502(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    engine.faults.add("hang_up")
    reply = ask(gateway)
    assert (reply.status, reply.code) == (502, "engine_failed")


def test_stream_that_the_engine_breaks_off_does_not_look_complete(
    new_gateway: NewGateway, engine: EngineDouble
) -> None:
    gateway = new_gateway()
    engine.faults.add("stream_cut")
    with start_stream(gateway) as stream:
        data = b"".join(iter(lambda: stream.recv(65536), b""))
    assert b"one" in data
    assert b"[DONE]" not in data
    assert not data.endswith(b"0\r\n\r\n")
