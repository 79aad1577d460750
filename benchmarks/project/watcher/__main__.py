"""Load a stack above its places, and count how often the watcher or HAProxy takes a working engine for dead.

The stack must run: `make up` and `make provision` come first. All places are taken the whole time, by short prompts
with long answers and by prompts that nearly fill the context. A host where engine_watch restarts an engine, or
answers anything but `up`, is reported with its reason and the time. The exit status is 1 if that happens.
"""

import asyncio
import json
import os
import platform
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.project.gateway.harness.load import Connection, Result, Target
from core.arguments import Parser
from core.console import say, show
from core.errors import DeployError, HostError, UsageError, run_cli
from core.ports import AGENT_PORT, WATCH_METRICS_PORT
from core.runs import write_result
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts import inventory
from provisioning.hosts.target import Target as Hosts
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.host.layout import HAPROXY_ADMIN_SOCKET
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import stream
from provisioning.ssh.target import SshTarget
from serving.endpoint import HTTPS_PORT, Endpoint, endpoint_file, read_endpoint
from serving.spec.gateway_places import host_places
from serving.timed_client import Client, tls_context

SAMPLER = Path(__file__).with_name("sampler.py")
WORDS = "The tenant pays the rent on the first day of each month. "
SHAPES = ((0.02, 0.4), (0.75, 0.1), (0.3, 0.3), (0.02, 0.2))
"""Shares of the context that prompt and answer of a request take, in turns."""
REFUSED_PAUSE_S = 2.0
"""Who is refused asks again after this time, whatever Retry-After says: the load must never fall."""


@dataclass
class Sampled:
    """What the sampler of one host said."""

    host: str
    changes: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def false_downs(self) -> int:
        """How many answers of the watcher would have taken the host out of rotation, or came from nobody."""
        return sum(number for word, number in self.sums.get("answers", {}).items() if word != "up")

    @property
    def ok(self) -> bool:
        """Whether the host stayed in rotation the whole time."""
        return bool(self.sums) and not (self.error or self.false_downs or self.sums["state_changes"])


def sample(outputs: StackOutputs, host: HostRecord, seconds: float, seen: Sampled) -> None:
    """Run the sampler on one host until it ends."""
    to = SshTarget.of(host)
    ports = (str(AGENT_PORT), str(WATCH_METRICS_PORT))
    words = (f"{seconds:.0f}", *ports, HAPROXY_ADMIN_SOCKET, str(outputs.serving_of(host).port))
    rest = ""
    try:
        with connect(to) as connection:
            for piece in stream(connection, to, ("python3", "-I", "-", *words), stdin=SAMPLER.read_text()):
                *lines, rest = (rest + piece).split("\n")
                for line in lines:
                    said = json.loads(line)
                    seen.sums = said.get("sums", seen.sums)
                    if "sums" not in said:
                        seen.changes.append(said)
                        say(f"  {host.name}: {line}")
    except HostError as error:
        seen.error = str(error)


class Load:
    """The clients. Each sends its next request when its last one has ended."""

    def __init__(self, endpoint: Endpoint, context_tokens: int) -> None:
        url = urlsplit(endpoint.url)
        key = endpoint.api_key().get_secret_value()
        tls = tls_context(endpoint.ca)
        self._target = Target(address=url.hostname or "", port=url.port or HTTPS_PORT, key=key, tls=tls)
        bases = dict.fromkeys((endpoint.base_model, *endpoint.bases.values()))
        self._models = (*bases, *endpoint.adapters)
        self._context = context_tokens
        self._chars_per_token = self._measured(endpoint)
        self.results: list[Result] = []

    def _measured(self, endpoint: Endpoint) -> float:
        """Return how many letters of our prompts the model's tokenizer makes one token of."""
        text = WORDS * 8
        asked = {"model": endpoint.base_model, "messages": [{"role": "user", "content": text}], "max_tokens": 1}
        with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
            answer = client.ask("POST", "/v1/chat/completions", asked)
        return len(text) / int(answer.json()["usage"]["prompt_tokens"])

    def body(self, number: int) -> bytes:
        """Return a request whose prompt no cache knows."""
        prompt, answer = SHAPES[number % len(SHAPES)]
        letters = int(prompt * self._context * self._chars_per_token)
        text = f"{number}. " + (WORDS * (letters // len(WORDS) + 1))[:letters]
        return json.dumps(
            {
                "model": self._models[number % len(self._models)],
                "messages": [{"role": "user", "content": text}],
                "max_tokens": max(1, int(answer * self._context)),
                "ignore_eos": True,
                "stream": number % 2 == 0,
            }
        ).encode()

    async def run(self, clients: int, seconds: float) -> None:
        """Keep `clients` requests under way for so long."""
        end = time.monotonic() + seconds
        numbers = iter(range(sys.maxsize))

        async def work() -> None:
            connection = Connection(self._target)
            while time.monotonic() < end:
                number = next(numbers)
                result = await connection.ask(f"watcher-{number}", self.body(number), timeout_s=600)
                self.results.append(result)
                if not result.ok:
                    connection.close()  # the gateway would close it meanwhile
                    await asyncio.sleep(REFUSED_PAUSE_S)
            connection.close()

        await asyncio.gather(*(work() for _ in range(clients)))


def main() -> int:
    """Load the stack, watch its hosts, and write the result."""
    parser = Parser(prog="make bench-watcher", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    options = parser.parse_args()
    outputs = inventory.load_to_look(Hosts(stack=options.stack))
    engines = Topology(outputs).hosts_with(HostRole.ENGINE)
    if outputs.tunnel is not None:
        raise UsageError("is an engine behind a tunnel", where=options.stack, hint="name another stack")
    places = sum(host_places(outputs.serving_of(host), outputs.gateway) for host in engines)
    clients = places + min(places, outputs.gateway.max_queue)
    seconds = options.minutes * 60
    endpoint = read_endpoint(endpoint_file(options.stack), hint=f"make provision STACK={options.stack}")
    load = Load(endpoint, min(serving.model.context_tokens for serving in outputs.servings))
    say(f"→ load {options.stack}: {clients} clients at {places} places for {options.minutes:g} minutes")
    seen = [Sampled(host.name) for host in engines]
    threads = [
        threading.Thread(target=sample, args=(outputs, host, seconds, each), daemon=True)
        for host, each in zip(engines, seen, strict=True)
    ]
    for thread in threads:
        thread.start()
    asyncio.run(load.run(clients, seconds + 5))
    for thread in threads:
        thread.join(60)
    return report(options.stack, outputs, seen, load.results, clients)


def report(stack: str, outputs: StackOutputs, seen: list[Sampled], results: list[Result], clients: int) -> int:
    """Show and write the result; return 0 if every host stayed in rotation."""
    statuses = Counter(str(each.status) if each.is_whole else "cut" for each in results)
    show(f"requests by status: {', '.join(f'{status}: {number}' for status, number in sorted(statuses.items()))}")
    for each in seen:
        if not each.sums:
            raise DeployError(each.error or "its sampler has not ended", where=each.host)
        answers, sums = each.sums["answers"], each.sums
        show(
            f"{each.host}: {sum(answers.values())} answers of the watcher in {sums['seconds']:.0f} s, "
            f"{each.false_downs} other than up; {sums['state_changes']} changes of state in HAProxy; "
            f"{sums['admissions']} admissions, {sums['hangs']} hangs, {sums['restarts']} restarts; "
            f"{sums['prompt_tokens_s']:g} + {sums['generation_tokens_s']:g} tokens/s"
        )
    ok = all(each.ok for each in seen)
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}
    hosts = {each.host: {**each.sums, "changes": each.changes, "error": each.error} for each in seen}
    values = {"ok": ok, "engine": outputs.serving.engine, "machine": machine, "clients": clients, "requests": statuses}
    say(f"written to {write_result(stack, 'watcher.json', {**values, 'hosts': hosts})}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(run_cli(main))
