"""The door of an engine's host with a real HAProxy: whom it lets in, and what its gateway sees of the engine."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import File, Resource, Secret
from provisioning.roles.gateway.door import DoorSecrets, door, door_config
from provisioning.roles.gateway.pools import loopback_pool
from provisioning.roles.gateway.process import Places
from provisioning.roles.host.layout import ENGINE_ENV
from serving.spec.models import GatewaySpec, ServingSpec
from tests.doors import POOL, Door, pool_of, running_door
from tests.doubles.engine import ENGINE_KEY, EngineDouble, running_engine
from tests.gateways import (
    CLIENT_KEY,
    Reply,
    RunningGateway,
    gateway_before,
    gateway_spec,
    haproxy,
    ollama_serving,
    places_in,
    vllm_serving,
    wait_for,
)
from tests.unit.provisioning.records import host

JSON = "Content-Type: application/json"
BODY = json.dumps({"model": "tiny", "prompt": "The rent", "max_tokens": 4}).encode()
PATH = "/v1/completions"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{JSON}\r\nAuthorization: Bearer {ENGINE_KEY}\r\n"
REQUEST = f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
PLACES = 2
SPEC = GatewaySpec(max_concurrency=PLACES)


@dataclass(frozen=True)
class PoolOfTwo:
    """A gateway in front of two hosts, each with a door and an engine."""

    gateway: RunningGateway
    doors: list[Door]
    engines: list[EngineDouble]

    def complete(self) -> Reply:
        """Send a completion through the gateway."""
        return self.gateway.ask("POST", PATH, JSON, body=BODY)

    def status_of(self, name: str) -> dict[str, str]:
        """Return HAProxy's row of a host."""
        head, *rows = self.gateway.admin("show stat").removeprefix("# ").strip().splitlines()
        seen = [dict(zip(head.split(","), row.split(","), strict=False)) for row in rows]
        return next(row for row in seen if (row["pxname"], row["svname"]) == (POOL, name))


@contextmanager
def pool_of_two(folder: Path, *, certified: str = "gpu-2", ready: bool = True) -> Iterator[PoolOfTwo]:
    """Run two hosts and their gateway. `certified`: the name in the second's certificate; `ready`: it may be asked."""
    ca, spec = folder / "ca", gateway_spec(max_concurrency=PLACES)
    with ExitStack() as undo:
        engines = [undo.enter_context(running_engine()) for _ in range(2)]
        doors = []
        for number, (engine, name) in enumerate(zip(engines, ("gpu-1", certified), strict=True), start=1):
            place = folder / str(number)
            place.mkdir()
            serving = vllm_serving(engine.port)
            each = running_door(place, ca, serving, SPEC, name=f"gpu-{number}", certified=name)
            doors.append(undo.enter_context(each))
        if not ready:
            doors[1] = replace(doors[1], server=replace(doors[1].server, names=()))
        place = folder / "gateway"
        place.mkdir()
        pool = pool_of(doors, vllm_serving(engines[0].port))
        gateway = undo.enter_context(gateway_before(place, [pool], spec, door_ca=ca / CA_CERTIFICATE))
        yield PoolOfTwo(gateway, doors, engines)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolOfTwo]:
    with pool_of_two(tmp_path_factory.mktemp("two")) as running:
        wait_for(lambda: all(running.status_of(f"gpu-{n}")["check_status"] == "L7OK" for n in (1, 2)), "both hosts")
        yield running


def test_a_clients_request_reaches_an_engine_behind_a_door_with_the_engines_key(two: PoolOfTwo) -> None:
    for engine in two.engines:
        engine.received.clear()
    assert [two.complete().status for _ in range(4)] == [200] * 4
    received = [request for engine in two.engines for request in engine.received if request.target == PATH]
    assert len(received) == 4
    assert {request.headers["authorization"] for request in received} == {f"Bearer {ENGINE_KEY}"}


def test_requests_share_connections_to_a_door(two: PoolOfTwo) -> None:
    """A TLS handshake for each request takes longer than what HAProxy adds otherwise."""
    before = {name: two.status_of(name) for name in ("gpu-1", "gpu-2")}
    assert [two.complete().status for _ in range(8)] == [200] * 8
    after = {name: two.status_of(name) for name in before}
    assert sum(int(after[name]["reuse"]) - int(before[name]["reuse"]) for name in before) >= 6


REFUSED = {
    "no key": ((), None, 401),
    "a client's key": ((), CLIENT_KEY, 401),
    "the key twice": ((f"Authorization: Bearer {ENGINE_KEY}",), ENGINE_KEY, 401),
    "the key without its scheme": ((f"Authorization: {ENGINE_KEY}",), None, 401),
    "the key in another header": ((f"X-Api-Key: {ENGINE_KEY}",), None, 401),
}


@pytest.mark.parametrize(("headers", "key", "status"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("path", [PATH, "/health", "/metrics"])
def test_a_door_opens_only_with_the_engines_key(
    two: PoolOfTwo, headers: tuple[str, ...], key: str | None, status: int, path: str
) -> None:
    engine, door = two.engines[0], two.doors[0].running
    seen = len([each for each in engine.received if each.target == PATH])
    assert door.ask("POST" if path == PATH else "GET", path, *headers, key=key).status == status
    assert len([each for each in engine.received if each.target == PATH]) == seen


@pytest.mark.parametrize("path", ["/metrics", "/version", "/v1/load_lora_adapter", "/health/", "/v1/models/tiny"])
def test_the_key_opens_the_gateways_paths_and_no_others(two: PoolOfTwo, path: str) -> None:
    door = two.doors[0].running
    assert door.ask("GET", path, key=ENGINE_KEY).status == 404
    assert door.ask("GET", "/v1/models", key=ENGINE_KEY).status == 200


def test_a_full_engine_is_not_an_engine_that_is_down(two: PoolOfTwo) -> None:
    """A check that waited for a place behind running requests would take the host out of rotation."""
    engine, door = two.engines[0], two.doors[0].running
    engine.hold.clear()
    try:
        with ExitStack() as undo:
            for _ in range(PLACES):
                undo.enter_context(connection := door.connect())
                connection.sendall(REQUEST)
            wait_for(lambda: engine.running == PLACES, "all places taken")
            assert door.ask("GET", "/health", key=ENGINE_KEY).status == 200
    finally:
        engine.hold.set()


def test_a_drained_engine_is_out_of_rotation_and_comes_back(two: PoolOfTwo) -> None:
    door = two.doors[0].running
    assert door.admin(f"set server {POOL}/gpu-1 state drain").strip() == ""
    try:
        assert door.ask("GET", "/health", key=ENGINE_KEY).status == 503
        wait_for(lambda: two.status_of("gpu-1")["status"].startswith("DOWN"), "the gateway to see the drain")
        assert two.complete().status == 200
    finally:
        door.admin(f"set server {POOL}/gpu-1 state ready")
    wait_for(lambda: two.status_of("gpu-1")["status"] == "UP", "the gateway to see it again")


def test_a_door_without_its_engine_says_nothing(tmp_path: Path) -> None:
    """So the gateway may send the request to another host: it would have to pass an answer on."""
    with (
        running_engine() as engine,
        running_door(tmp_path, tmp_path / "ca", vllm_serving(engine.port), SPEC, name="gpu-1") as door,
    ):
        engine.stop_listening()
        with door.running.connect() as connection:
            connection.sendall(REQUEST)
            assert connection.recv(4096) == b""


def test_the_gateway_refuses_a_door_with_another_hosts_certificate(tmp_path: Path) -> None:
    with pool_of_two(tmp_path, certified="gpu-1") as pool:
        wait_for(lambda: pool.status_of("gpu-2")["status"].startswith("DOWN"), "the certificate to be refused")
        assert pool.status_of("gpu-2")["check_status"] == "L6RSP"
        assert [pool.complete().status for _ in range(3)] == [200] * 3
        assert not [each for each in pool.engines[1].received if each.target == PATH]


def test_a_host_without_names_gets_no_request(tmp_path: Path) -> None:
    with pool_of_two(tmp_path, ready=False) as pool:
        wait_for(lambda: pool.status_of("gpu-1")["check_status"] == "L7OK", "the other host")
        assert pool.status_of("gpu-2")["status"] == "MAINT"
        assert [pool.complete().status for _ in range(3)] == [200] * 3
        assert not [each for each in pool.engines[1].received if each.target == PATH]


@pytest.mark.parametrize("serving", [vllm_serving(8000), ollama_serving(native_api=True)], ids=["vllm", "ollama"])
def test_haproxy_accepts_the_configuration_without_a_warning(tmp_path: Path, serving: ServingSpec) -> None:
    places = replace(places_in(tmp_path), chroot=str(tmp_path), user=Places().user)
    pem = server_certificate(tmp_path / "kept.pem", tmp_path / "ca", ("gpu-1",), 2, datetime.now(UTC))
    Path(places.certificate).write_text(pem)
    pool = loopback_pool(POOL, "gpu-1", serving, SPEC)
    Path(places.config).write_text(door_config(pool, SPEC, places, Secret(ENGINE_KEY)))
    done = subprocess.run([haproxy(), "-c", "-f", places.config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr


def resources(serving: ServingSpec) -> list[Resource]:
    """Return the role's resources for one host."""
    return door(host(), serving, GatewaySpec(), DoorSecrets(certificate=Secret("PEM"), key=Secret("key")))


def test_the_list_is_in_order_and_shows_no_secret() -> None:
    desired = resources(vllm_serving(8000))
    payload_of(desired, dry_run=False)
    everything = repr([vars(each) for each in desired])
    assert "Bearer key" not in everything
    assert hashlib.sha256(b"Bearer key").hexdigest() in everything


def test_a_host_that_had_a_gateway_of_its_own_forgets_the_clients() -> None:
    (keys,) = [each for each in resources(vllm_serving(8000)) if each.id == f"file:{Places().keys}"]
    assert isinstance(keys, File)
    assert keys.content is None


def test_only_vllm_needs_the_key_in_the_environment() -> None:
    ids = {engine.engine: [each.id for each in resources(engine)] for engine in (vllm_serving(8000), ollama_serving())}
    assert f"generated_secret:{ENGINE_ENV}" in ids["vllm"]
    assert f"generated_secret:{ENGINE_ENV}" not in ids["ollama"]


@contextmanager
def monitored_pool(folder: Path) -> Iterator[tuple[RunningGateway, Door, EngineDouble]]:
    """Run one host with its door and a gateway's host, both monitored."""
    ca, spec = folder / "ca", gateway_spec(max_concurrency=2, monitoring={})
    with ExitStack() as undo:
        engine = undo.enter_context(running_engine())
        for place in ("door", "gateway"):
            (folder / place).mkdir()
        monitored = SPEC.model_copy(update={"monitoring": spec.monitoring})
        door = undo.enter_context(
            running_door(folder / "door", ca, vllm_serving(engine.port), monitored, name="gpu-1", certified="gpu-1")
        )
        pool = pool_of([door], vllm_serving(engine.port))
        gateway = undo.enter_context(gateway_before(folder / "gateway", [pool], spec, door_ca=ca / CA_CERTIFICATE))
        yield gateway, door, engine


def test_the_gateways_host_reads_metrics_through_a_door_with_the_engines_key(tmp_path: Path) -> None:
    with monitored_pool(tmp_path) as (gateway, door, engine):
        address = f"http://{gateway.places.metrics_address}"

        def read(path: str) -> tuple[int, str]:
            done = subprocess.run(
                ["curl", "-s", "-w", "\n%{http_code}", f"{address}{path}"], capture_output=True, text=True, check=False
            )
            body, _, status = done.stdout.rpartition("\n")
            return int(status), body

        wait_for(lambda: read("/engine-metrics/gpu-1")[0] == 200, "metrics of the engine")
        assert "vllm:num_requests_running" in read("/engine-metrics/gpu-1")[1]
        assert [request.target for request in engine.received if request.target != "/health"][-1] == "/metrics"
        for path in ("/engine-metrics", "/engine-metrics/gpu-2", "/engine-metrics/gpu-1/", "/v1/models/gpu-1"):
            assert read(path)[0] == 404, path
        assert gateway.ask("GET", "/engine-metrics/gpu-1").status == 404, "clients see nothing of it"
        assert door.running.ask("GET", "/engine-metrics", key=None).status == 401
        assert door.running.ask("GET", "/engine-metrics", key=CLIENT_KEY).status == 401
        assert door.running.ask("POST", "/engine-metrics", key=ENGINE_KEY).status == 404
        assert door.running.ask("GET", "/engine-metrics", key=ENGINE_KEY).status == 200
        assert door.running.ask("GET", "/node-metrics", key=ENGINE_KEY).status != 404
