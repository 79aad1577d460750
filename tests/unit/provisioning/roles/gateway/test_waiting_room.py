"""Requests that wait while no engine is ready."""

import itertools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.doubles.engine import running_engine
from tests.gateway_requests import ask, clients
from tests.gateways import (
    CLIENT_KEY,
    SECOND_KEY,
    RunningGateway,
    body_of,
    free_port,
    running_gateway,
    wait_for,
)


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
