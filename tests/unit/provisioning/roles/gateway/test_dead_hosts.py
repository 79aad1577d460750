"""What a client gets without `stream` when the host that computes its answer dies: never a closed connection alone."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioning.access.certificates import CA_CERTIFICATE
from provisioning.programs.host import top_report
from tests.doors import Door, pool_of, running_door
from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import (
    ADDRESS,
    CLIENT_KEY,
    DEADLINE_S,
    RunningGateway,
    gateway_before,
    gateway_spec,
    vllm_serving,
    wait_for,
)

Got = tuple[int, str | None, str | None]
"""Status, Retry-After, and the code of an error."""


@dataclass
class Hosts:
    """Hosts with a door and an engine with one place, and their gateway."""

    gateway: RunningGateway
    doors: list[Door]
    engines: list[EngineDouble]
    undo: ExitStack

    def connect(self) -> http.client.HTTPSConnection:
        """Return a connection that stays open between requests."""
        context = self.gateway.tls()
        connection = http.client.HTTPSConnection(ADDRESS, self.gateway.port, context=context, timeout=DEADLINE_S)
        return self.undo.enter_context(closing(connection))

    def kept(self) -> http.client.HTTPSConnection:
        """Return a connection that has had an answer, as those of most clients."""
        connection = self.connect()
        assert ask(connection)[0] == 200
        return connection

    def running(self) -> int:
        """Return how many requests the engines compute."""
        return sum(each.running for each in self.engines)

    def hold(self) -> None:
        """Let every host compute one answer, so that there are connections to reuse; then let none end an answer."""
        for number in range(8):
            assert ask(self.connect(), f"prompt {number}")[0] == 200
        for each in self.engines:
            each.hold.clear()

    def release(self) -> None:
        """Let all answers end."""
        for each in self.engines:
            each.hold.set()

    def kill(self, number: int) -> None:
        """End a host's door at once: the kernel closes its connections, and refuses new ones."""
        door = self.doors[number].running
        for pid in (door.process.pid, int(door.worker())):
            os.kill(pid, signal.SIGKILL)


def ask(connection: http.client.HTTPSConnection, prompt: str = "The rent", method: str = "POST") -> Got:
    """Send a request without `stream`; fails if the connection is closed without an answer."""
    headers = {"Authorization": f"Bearer {CLIENT_KEY}", "Content-Type": "application/json"}
    body = json.dumps({"model": "tiny", "prompt": prompt})
    if method == "GET":
        connection.request("GET", "/v1/models", headers=headers)
    else:
        connection.request("POST", "/v1/completions", body, headers)
    reply = connection.getresponse()
    answer: dict[str, Any] = json.loads(reply.read())
    return reply.status, reply.getheader("retry-after"), answer["error"]["code"] if "error" in answer else None


def hosts(folder: Path, undo: ExitStack, count: int, **spec: Any) -> Hosts:
    """Run `count` hosts and their gateway until `undo` ends."""
    ca, gateway = folder / "ca", gateway_spec(max_concurrency=1, **spec)
    engines = [undo.enter_context(running_engine()) for _ in range(count)]
    doors = []
    for number, engine in enumerate(engines, 1):
        place = folder / str(number)
        place.mkdir()
        running = running_door(place, ca, vllm_serving(engine.port), gateway, name=f"gpu-{number}")
        doors.append(undo.enter_context(running))
    (folder / "gateway").mkdir()
    pool = pool_of(doors, vllm_serving(engines[0].port))
    before = gateway_before(folder / "gateway", [pool], gateway, door_ca=ca / CA_CERTIFICATE)
    found = Hosts(undo.enter_context(before), doors, engines, undo)
    undo.callback(found.release)
    for door in doors:
        wait_for(lambda door=door: found.gateway.engine_is("UP", door.server.name), door.server.name)  # type: ignore[misc]
    return found


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(("client", "waiting"), [("new", 0), ("kept", 1)])
def test_request_of_a_dead_host_is_answered_by_another_that_was_full(
    tmp_path: Path, undo: ExitStack, people: ThreadPoolExecutor, client: str, waiting: int
) -> None:
    """The first retry met the dead host again, whose places looked free, and the client got no answer."""
    two = hosts(tmp_path, undo, 2)
    connection = two.connect() if client == "new" else two.kept()
    two.hold()
    asked: list[Future[Got]] = [people.submit(ask, connection)]
    wait_for(lambda: two.running() == 1, "it is computed")
    dying = next(number for number, each in enumerate(two.engines) if each.running)
    asked += [people.submit(ask, two.connect(), "other")]
    wait_for(lambda: two.running() == 2, "the other host is full")
    asked += [people.submit(ask, two.connect(), "third") for _ in range(waiting)]
    wait_for(lambda: two.gateway.waiting() == waiting, "the queue")
    two.kill(dying)
    wait_for(lambda: two.gateway.engine_is("DOWN", f"gpu-{dying + 1}"), "the gateway knows that it is dead")
    wait_for(lambda: two.gateway.waiting() == waiting + 1, "it waits for the other host")
    two.release()
    assert [each.result()[0] for each in asked] == [200] * len(asked)


@pytest.mark.parametrize(("client", "method"), [("new", "GET"), ("kept", "POST")])
def test_request_whose_host_dies_gets_503_if_there_is_no_other(
    tmp_path: Path, undo: ExitStack, people: ThreadPoolExecutor, client: str, method: str
) -> None:
    one = hosts(tmp_path, undo, 1)
    connection = one.connect() if client == "new" else one.kept()
    one.hold()
    asked = people.submit(ask, connection, method=method)
    wait_for(lambda: one.running() == 1, "it is computed")
    one.kill(0)
    assert asked.result() == (503, "10", "engine_unavailable")
    wait_for(lambda: one.gateway.log_lines()[-1]["status"] == 503, "its line")
    line = one.gateway.log_lines()[-1]
    assert (line["decision"], line["reason"], line["host"]) == ("refused", "engine_unavailable", "_none")
    shown = top_report.servers(one.gateway.places.admin_socket, ["main"])
    assert shown
    assert [(each["name"], each["state"]) for each in shown["servers"]] == [("gpu-1", "DOWN")]


def test_request_to_a_host_that_is_silent_and_down_gets_504(
    tmp_path: Path, undo: ExitStack, people: ThreadPoolExecutor
) -> None:
    two = hosts(tmp_path, undo, 2, request_timeout_s=1)
    connection = two.kept()
    two.hold()
    asked = people.submit(ask, connection)
    wait_for(lambda: two.running() == 1, "it is computed")
    silent = next(number for number, each in enumerate(two.engines, 1) if each.running)
    two.gateway.admin(f"set server main/gpu-{silent} state maint")
    assert asked.result() == (504, None, "engine_timeout")
