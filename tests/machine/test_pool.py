"""A gateway's machine in front of two engines' machines, all real, with an engine double behind each door.

They are installed from a bundle, without a way to the internet.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

import pytest

from core.errors import CheckError
from core.ports import AGENT_PORT, DOOR_PORT
from infra.clouds.local.parts import record
from infra.clouds.local.parts.runner import runner
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.engine_key import engine_key
from provisioning.apply.desired_state import desired_state, joined
from provisioning.apply.provision import provision
from provisioning.hosts.installed_names import all_names, names_file, note_names
from provisioning.hosts.target import Target
from provisioning.offline.bundle import Made, write_bundle
from provisioning.offline.lists import local
from provisioning.offline.releases import RELEASES
from provisioning.operate.status import look
from provisioning.roles.gateway.given_key import with_engine_key
from provisioning.roles.gateway.process import Places
from provisioning.roles.host.layout import GATEWAY_UNIT, HAPROXY_ADMIN_SOCKET
from serving.endpoint import Endpoint, endpoint_file, read_endpoint
from serving.timed_client import Client, StreamedAnswer
from tests.machine.converge_host import bring, poll, remote
from tests.machine.engine_double import engine_double
from tests.machine.machines import STACK, NewMachine, making_machines
from tests.machine.offline_host import OfflineHost
from tests.machine.prometheus import query, read_each_second
from tests.slowness import patient
from tests.unit.provisioning.records import SERVING

GATE, ENGINES = "gate", ("gpu-1", "gpu-2")
ROLES = ("base", "gateway", "monitoring")
TOKEN_S = 0.1
"""A stream takes 20 s, and a machine that died is out of rotation long before."""


@dataclass(frozen=True)
class PoolOfMachines:
    """The machines, their stack and the endpoint for clients."""

    outputs: StackOutputs
    hosts: dict[str, HostRecord]
    endpoint: Endpoint
    target: Target
    make: NewMachine
    state: Path

    def answers(self) -> bool:
        """Return whether a client of the gateway gets an answer of an engine."""
        try:
            with self.client() as client:
                return bool(client.complete("tiny", "The rent", max_tokens=4).text)
        except CheckError:
            return False

    def client(self) -> Client:
        """Return a client of the gateway."""
        return Client(self.endpoint.url, key=self.endpoint.api_key(), ca=self.endpoint.ca, timeout_s=20)

    def states(self) -> dict[str, str]:
        """Return how the gateway sees each engine's host."""
        queue = look(self.outputs, self.hosts[GATE]).queue
        assert queue is not None
        return dict(queue.hosts)

    def all_up(self) -> bool:
        """Return whether the gateway sends requests to both hosts."""
        return set(self.states().values()) == {"UP"}


def inventory_of(folder: Path, outputs: StackOutputs) -> Target:
    """Return the target of an inventory with these hosts."""
    path = folder / "hosts.json"
    path.write_text(outputs.model_dump_json(exclude_unset=True))
    return Target(inventory=str(path))


@pytest.fixture(scope="module")
def pool(machine_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolOfMachines]:
    """Base role and gateway roles; the engine double comes with the stack's key, as the engine role's would."""
    with pytest.MonkeyPatch.context() as patch, making_machines(machine_state) as make:
        read_each_second(patch)
        patch.setenv("LLM_DEPLOY_STATE", str(tmp_path_factory.mktemp("pool")))
        hosts = {name: make(name) for name in (*ENGINES, GATE)}
        content = {
            **{"stack": "test", "hosts": list(hosts.values()), "gateway_host": GATE, "serving": SERVING},
            "gateway": {"monitoring": {}},
        }
        outputs = StackOutputs.model_validate(content)
        note_names(outputs, all_names(outputs))
        desired = desired_state(outputs, tuple(hosts.values()), ROLES)
        double = with_engine_key(engine_double(TOKEN_S, rounds=50), engine_key("test"))
        lists = {name: local(joined(desired.lists[name], double if name in ENGINES else [])) for name in hosts}
        folder = tmp_path_factory.mktemp("bundle")
        bundle = write_bundle(lists, outputs, RELEASES["debian-12"], folder / "pool.tar", with_secrets=False)
        machines = [OfflineHost(host) for host in hosts.values()]
        with ThreadPoolExecutor(len(machines)) as people:
            said = list(people.map(lambda machine: installed(machine, bundle, folder / machine.record.name), machines))
        assert [text for text in said if not text.endswith("status 0\n")] == []
        assert desired.endpoint is not None
        target = inventory_of(tmp_path_factory.mktemp("inventory"), outputs)
        running = PoolOfMachines(outputs, hosts, desired.endpoint, target, make, machine_state)
        poll(running.all_up)
        yield running


def installed(machine: OfflineHost, bundle: Made, folder: Path) -> str:
    """Install the machine from the bundle; return the installer's output and status."""
    folder.mkdir()
    machine.isolate()
    machine.bring(bundle, folder)
    return machine.install(bundle)


PORTS = (22, 80, 443, 3000, 8000, 8080, 8405, AGENT_PORT, 8409, 8410, 8411, 8412, DOOR_PORT, 9090, 9093, 9100, 11434)


KNOCK = """
import select, socket, sys
knocking = {}
for port in map(int, sys.argv[2:]):
    each = socket.socket()
    each.setblocking(False)
    each.connect_ex((sys.argv[1], port))
    knocking[each] = port
answered = select.poll()
for each in knocking:
    answered.register(each, select.POLLOUT)
by_number = {each.fileno(): port for each, port in knocking.items()}
while by_number and (seen := answered.poll(2000)):
    for number, _ in seen:
        answered.unregister(number)
        print(by_number.pop(number))
"""
"""Prints the ports that answer, with a connection or a refusal; a firewall answers nothing."""


def open_from_here(host: HostRecord) -> set[int]:
    """Return those of PORTS that let a stranger in."""
    argv = [sys.executable, "-c", KNOCK, host.address, *map(str, PORTS)]
    return set(map(int, subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()))


def open_from(host: HostRecord, there: HostRecord) -> set[int]:
    """Return the same, as `host` sees it."""
    ports = " ".join(map(str, PORTS))
    return set(map(int, remote(host, f"python3 - {there.address} {ports} <<'END'{KNOCK}END").split()))


def test_only_the_gateways_machine_reaches_an_engines_machine(pool: PoolOfMachines) -> None:
    gate, one, two = pool.hosts[GATE], pool.hosts["gpu-1"], pool.hosts["gpu-2"]
    assert open_from_here(gate) == {22, 443}
    assert open_from_here(one) == {22}
    assert open_from(two, one) == {22}
    assert open_from(gate, one) == {22, AGENT_PORT, DOOR_PORT}


def test_a_client_of_the_gateway_gets_answers_of_both_engines(pool: PoolOfMachines) -> None:
    assert pool.endpoint.urls == (f"https://{pool.hosts[GATE].address}",)
    poll(pool.all_up)
    assert all(pool.answers() for _ in range(4))


def test_a_door_refuses_who_has_no_engine_key(pool: PoolOfMachines) -> None:
    url = f"https://{pool.hosts['gpu-1'].address}:{DOOR_PORT}/v1/models"
    trust = f"curl -s -m 20 -o /dev/null -w '%{{http_code}}' --cacert {Places().ca}"
    gate = pool.hosts[GATE]
    assert remote(gate, f"{trust} {url}") == "401"
    key = pool.endpoint.api_key().get_secret_value()
    assert remote(gate, f"{trust} -H 'Authorization: Bearer {key}' {url}") == "401"
    own = '-H "Authorization: Bearer $(sed -n s/^VLLM_API_KEY=//p /etc/llm/engine.env)"'
    assert remote(gate, f"{trust} {own} {url}") == "200"


def test_the_gateway_refuses_a_door_with_another_hosts_certificate(pool: PoolOfMachines) -> None:
    one, two, certificate = pool.hosts["gpu-1"], pool.hosts["gpu-2"], Places().certificate
    others = remote(one, f"base64 -w0 {certificate}")
    remote(two, f"cp -p {certificate} /root/own.pem; echo {others} | base64 -d > {certificate}")
    remote(two, f"systemctl reload {GATEWAY_UNIT}")
    try:
        poll(lambda: pool.states()["gpu-2"].startswith("DOWN"))
        assert all(pool.answers() for _ in range(3))
    finally:
        remote(two, f"mv /root/own.pem {certificate}; systemctl reload {GATEWAY_UNIT}")
    poll(pool.all_up)


def test_the_gateways_machine_has_the_metrics_of_the_machines_behind_it(pool: PoolOfMachines) -> None:
    """Through the doors; the engine double has no watcher."""

    def seen(expression: str) -> set[tuple[str, ...]]:
        return set(query(pool.hosts[GATE], expression))

    here = {(GATE, job) for job in ("access", "haproxy", "node", "prometheus", "queue")}
    there = {(name, job) for name in ENGINES for job in ("access", "engine", "node")}
    poll(lambda: seen("max by (host, job) (up) == 1") == here | there)
    assert seen("max by (host, job) (up) == 0") == {(name, "watch") for name in ENGINES}
    poll(lambda: seen("max by (host) (vllm:num_requests_running)") == {(name,) for name in ENGINES})
    ends = "count by (host) (llm_certificate_expires_seconds > time() + 86400)"
    poll(lambda: seen(ends) == {(GATE,), *((name,) for name in ENGINES)})
    days = {name: look(pool.outputs, host).certificate_days for name, host in pool.hosts.items()}
    assert set(days.values()) <= {89, 90}, "of each door too"
    key = "sed -n s/^VLLM_API_KEY=//p /etc/llm/engine.env"
    assert not remote(pool.hosts[GATE], f'grep -rF -- "$({key})" /etc/llm/monitoring || true')


def test_a_second_provision_changes_nothing(pool: PoolOfMachines) -> None:
    lists = desired_state(pool.outputs, tuple(pool.hosts.values()), ROLES).lists
    for name, host in pool.hosts.items():
        assert bring(host, lists[name], dry_run=True).result.changed == ()


class Stream:
    """A streamed answer that a client reads meanwhile."""

    def __init__(self, pool: PoolOfMachines, prompt: str) -> None:
        self._pool = pool
        self._prompt = prompt
        self._end: StreamedAnswer | CheckError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._pool.client() as client:
                self._end = client.stream_chat("tiny", self._prompt, max_tokens=200)
        except CheckError as error:
            self._end = error

    def end(self) -> StreamedAnswer | CheckError | None:
        """Return the answer, or what cut it off."""
        self._thread.join(patient(60))
        return self._end


def running(pool: PoolOfMachines) -> dict[str, int]:
    """Return how many requests the gateway has at each engine's host."""
    rows = remote(pool.hosts[GATE], SHOW_STAT).splitlines()
    return {name: int(number) for name, number in map(str.split, rows) if name in ENGINES}


SHOW_STAT = f"""
echo 'show stat' | python3 -c '
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("{HAPROXY_ADMIN_SOCKET}")
    connection.sendall(sys.stdin.buffer.read())
    rows = [line.split(",") for line in connection.makefile() if line.strip()]
column = rows[0].index("scur")
for row in rows[1:]:
    if row[0] == "main":
        print(row[1], row[column] or 0)
'
"""


def test_a_stream_goes_on_while_the_other_machine_dies_and_that_comes_back(pool: PoolOfMachines) -> None:
    poll(pool.all_up)
    # The start of a prompt chooses its host, and six of them choose both.
    streams = [Stream(pool, f"{number}. The rent") for number in range(6)]
    poll(lambda: sum(running(pool).values()) == len(streams))
    on_two = running(pool)["gpu-2"]
    assert 0 < on_two < len(streams)
    identity = record.machine_id(str(pool.state), STACK, "gpu-2")
    for process in runner().processes(identity):
        process.send(SIGKILL)
    try:
        assert all(pool.answers() for _ in range(8)), "a client saw the machine's death"
        poll(lambda: pool.states()["gpu-2"].startswith("DOWN"))
        assert pool.states()["gpu-1"] == "UP"
        ends = [stream.end() for stream in streams]
        assert [type(end) for end in ends].count(StreamedAnswer) == len(streams) - on_two, ends
        assert not any(end is None for end in ends)
        assert all(pool.answers() for _ in range(4))
        with pytest.raises(Exception, match="1 of 3 hosts failed: gpu-2"):
            provision(pool.target, names=(), roles=ROLES, at_once=8)
        assert read_endpoint(endpoint_file("test"), hint="").urls == pool.endpoint.urls
        assert json.loads(names_file("test").read_text()).keys() == set(ENGINES)
    finally:
        pool.make("gpu-2")
    poll(pool.all_up)
