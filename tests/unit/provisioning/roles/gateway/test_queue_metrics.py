"""How many requests wait, by class, compared with what the engine has received and which clients hung up."""

import json
import random
import ssl
import threading
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from tests.doubles.engine import TOKENS, EngineDouble
from tests.gateways import CLIENT_KEY, RunningGateway, wait_for
from tests.metrics import read_metrics
from tests.unit.provisioning.conftest import NewGateway

CLASSES = ("interactive", "batch")
SEED = 20261130
STEPS = 40


def waiting_by_class(gateway: RunningGateway, pool: str = "main") -> dict[str, int]:
    """Return the metric."""
    with urllib.request.urlopen(f"http://{gateway.places.metrics_address}/queue-metrics") as answer:
        found = read_metrics(answer.read().decode())
    assert {each.name for each in found} == {"llm_waiting_requests"}
    return {each.labels["class"]: int(each.value) for each in found if each.labels["pool"] == pool}


@dataclass
class Clients:
    """Clients that send streams, and hang up."""

    gateway: RunningGateway
    engine: EngineDouble
    open: dict[str, ssl.SSLSocket] = field(default_factory=dict)
    class_of: dict[str, str] = field(default_factory=dict)
    hung_up: set[str] = field(default_factory=set)

    def send(self, service_class: str) -> None:
        """Send one more request."""
        name = f"request {len(self.class_of)}"
        self.class_of[name] = service_class
        body = json.dumps({"model": "tiny", "prompt": name, "stream": True})
        connection = self.open[name] = self.gateway.connect()
        connection.sendall(
            f"POST /v1/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
            f"X-Priority: {service_class}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def hang_up(self, name: str) -> None:
        """Close a client's connection."""
        self.open.pop(name).close()
        self.hung_up.add(name)

    def waiting(self) -> list[str]:
        """Return the requests that no engine has got, and whose clients are there."""
        got = {json.loads(each.body)["prompt"] for each in self.engine.received if each.method == "POST"}
        return [name for name in self.class_of if name not in got | self.hung_up]

    def by_class(self) -> dict[str, int]:
        """Return how many wait."""
        return {**dict.fromkeys(CLASSES, 0), **Counter(self.class_of[name] for name in self.waiting())}


def test_waiting_requests_by_class(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """Over random arrivals, ends and hang-ups. Each step is compared, so no error may add up."""
    gateway = new_gateway(max_concurrency=2, max_queue=40)
    engine.steps = threading.Semaphore(0)
    chance = random.Random(SEED)  # noqa: S311
    clients = Clients(gateway, engine)
    most = 0
    for step in range(STEPS):
        waiting = clients.waiting()
        what = chance.choices(("send", "end", "hang up"), (len(waiting) < 30, 0.4, 0.3 if waiting else 0))[0]
        if what == "send":
            clients.send(chance.choice(CLASSES))
        elif what == "hang up":
            clients.hang_up(chance.choice(waiting))
        else:
            engine.steps.release(len(TOKENS))
        wait_for(lambda: waiting_by_class(gateway) == clients.by_class(), f"{step}: {what}")
        most = max(most, len(clients.waiting()))
    assert most > 5
    assert sum(clients.by_class().values()) == gateway.waiting()
    for name in clients.waiting():
        clients.hang_up(name)
    wait_for(lambda: waiting_by_class(gateway) == dict.fromkeys(CLASSES, 0), "the end of all")
    engine.steps.release(1000)
    for connection in clients.open.values():
        with suppress(OSError):
            connection.close()


def test_requests_that_wait_for_an_engine_count_too(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(no_engine_wait_s=60)
    engine.faults.add("unhealthy")
    gateway.admin("set server main/gpu-1 state maint")
    clients = Clients(gateway, engine)
    for service_class in (*CLASSES, "batch"):
        clients.send(service_class)
    wait_for(lambda: waiting_by_class(gateway) == {"interactive": 1, "batch": 2}, "the waiting room")
    for name in list(clients.open):
        clients.hang_up(name)
    wait_for(lambda: waiting_by_class(gateway) == dict.fromkeys(CLASSES, 0), "its end")
