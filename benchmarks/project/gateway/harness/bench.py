"""What the rows share: stand-ins and HAProxy as processes, their control, and the table."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.project.gateway.harness.figures import Event, Figure, Table, amount
from benchmarks.project.gateway.harness.load import Target
from core.console import show
from core.errors import CheckError
from core.paths import CHECKOUT
from provisioning.roles.gateway.pools import Pool, PoolServer
from serving.spec.models import GatewaySpec
from tests.gateways import CLIENT_KEY, POOL, RunningGateway, free_port, gateway_before, gateway_spec, vllm_serving

READY_S = 30.0
MODEL = "tiny"


@dataclass
class Bench:
    """One run of the benchmark."""

    quick: bool
    table: Table = field(default_factory=Table)

    def pick(self, whole: int, quick: int) -> int:
        """Return the number for the whole run, or that for trying."""
        return quick if self.quick else whole

    def add(self, figure: Figure) -> None:
        """Print a figure and keep it."""
        show(figure.line())
        self.table.figures.append(figure)

    def at_most(
        self, row: str, name: str, value: float, goal: float | None, *, unit: str = "", also: str = "", noise: str = ""
    ) -> None:
        """Add a figure that must not be above `goal`; None: there is no goal."""
        met = None if goal is None else value <= goal
        text = "" if goal is None else f"≤ {amount(goal, unit)}" if goal else "0"
        self.add(Figure(row=row, name=name, goal=text, value=amount(value, unit) + also, met=met, noise=noise))

    def at_least(self, row: str, name: str, value: float, goal: float, *, also: str = "", noise: str = "") -> None:
        """Add a figure that must not be below `goal`."""
        met = value >= goal
        self.add(Figure(row=row, name=name, goal=f"≥ {goal:g}", value=f"{value:.3f}" + also, met=met, noise=noise))


@dataclass
class StandIn:
    """A running stand-in engine."""

    name: str
    port: int
    agent_port: int
    options: Sequence[str]
    beside: Sequence[int] = ()
    """Ports of other stand-ins in the same process."""
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = [sys.executable, "-m", "benchmarks.project.gateway.harness.engine"]
        ports = [word for port in (self.port, *self.beside) for word in ("--port", str(port))]
        ports += ["--agent-port", str(self.agent_port)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen([*program, *ports, *self.options], cwd=CHECKOUT, env=environment)
        wait_for(self.answers, f"stand-in {self.name}")

    def kill(self) -> None:
        """End it at once, as a host that loses its power."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def answers(self) -> bool:
        """Return whether it takes connections."""
        try:
            self.control("GET", "/health")
        except OSError:
            return False
        return True

    def control(self, method: str, path: str) -> Any:
        """Return the answer of a control path."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return json.load(reply)

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        return [(what, name, at, number) for what, name, at, number in self.control("GET", "/control/events")]


@contextmanager
def stand_ins(count: int, **options: object) -> Iterator[list[StandIn]]:
    """Run stand-ins with options of engine.py, e.g. `prefill_s=0.1`."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    engines = [StandIn(f"gpu-{number + 1}", free_port(), free_port(), words) for number in range(count)]
    try:
        for engine in engines:
            engine.start()
        yield engines
    finally:
        for engine in engines:
            engine.kill()


@contextmanager
def stand_ins_together(count: int, **options: object) -> Iterator[list[StandIn]]:
    """Run stand-ins in one process, so that their logs have one order on a busy machine too. They have no agent."""
    ports = [free_port() for _ in range(count)]
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    engines = [StandIn(f"gpu-{number + 1}", port, 0, words, beside=ports[1:]) for number, port in enumerate(ports)]
    try:
        engines[0].start()
        yield engines
    finally:
        engines[0].kill()


@contextmanager
def gateway(
    engines: Sequence[StandIn], places: int, *, agent: bool = False, names: Sequence[str] = (MODEL,), **spec: object
) -> Iterator[RunningGateway]:
    """Run the real HAProxy with the generator's configuration in front of stand-ins that serve `names`."""
    servers = tuple(
        PoolServer(
            name=each.name,
            port=each.port,
            places=places,
            agent_port=each.agent_port if agent else None,
            names=tuple(names),
        )
        for each in engines
    )
    limits: dict[str, object] = {"max_concurrency": places, "max_queue": 1024, "queue_timeout_s": 120, **spec}
    settings: GatewaySpec = gateway_spec(**limits)
    pool = Pool(name=POOL, serving=vllm_serving(engines[0].port), servers=servers)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway")))
        running = stack.enter_context(gateway_before(folder, [pool], settings))
        wait_for(lambda: all(state(running, each.name).startswith("UP") for each in engines), "hosts in rotation")
        yield running


def target_of(running: RunningGateway, key: str = CLIENT_KEY) -> Target:
    """Return the gateway as a target."""
    return Target(port=running.port, key=key, tls=running.tls())


def state(running: RunningGateway, server: str) -> str:
    """Return HAProxy's state of a host, e.g. UP, DOWN or DRAIN; empty if it does not know it."""
    header, *rows = running.admin(f"show stat {POOL} 4 -1").removeprefix("# ").strip().splitlines()
    names = header.split(",")
    for row in rows:
        values = dict(zip(names, row.split(","), strict=False))
        if values["svname"] == server:
            return values["status"]
    return ""


def memory_mib(running: RunningGateway) -> float:
    """Return the resident memory of HAProxy's worker."""
    for line in Path(f"/proc/{running.worker()}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def computed_s(pid: int) -> float:
    """Return the seconds that a process and its children have computed so far; 0 for no process."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat") if pid else ():
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        number = int(path.parent.name)
        if number == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def wait_for(true: Any, what: str, deadline_s: float = READY_S) -> None:
    """Wait until `true()`. Raises CheckError after the deadline."""
    end = time.monotonic() + deadline_s
    while not true():
        if time.monotonic() > end:
            raise CheckError(f"waited {deadline_s:.0f} s for {what}")
        time.sleep(0.01)


def chat(text: str, *, model: str = MODEL, stream: bool = False, max_tokens: int = 8) -> bytes:
    """Return the body of a chat request."""
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "max_tokens": max_tokens, "stream": stream}
    return json.dumps(body, ensure_ascii=False).encode()
