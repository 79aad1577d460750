"""Clients that hold connections, memory or other protocols, on a real HAProxy."""

import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from provisioning.roles.gateway.process import Limits
from serving.spec.gateway_size import (
    CPU_HOST_MIB,
    MIB,
    alone_gib,
    gateway_size,
    reserved_alone_mib,
    reserved_mib,
    too_large,
)
from serving.spec.models import GatewaySpec
from tests.doubles.engine import TOKENS, EngineDouble, running_engine
from tests.gateways import ADDRESS, CLIENT_KEY, DEADLINE_S, RunningGateway, read_reply, running_gateway, wait_for
from tests.overflows import overflow_spec
from tests.unit.provisioning.conftest import NewGateway
from tests.unit.provisioning.roles.gateway.test_limits import head, set_limits
from tests.unit.provisioning.roles.gateway.test_stream import Stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""Of HTTP/2, and an empty SETTINGS frame."""

PLACES = 16
"""Of a vLLM whose config names no limits."""


def answer_to(connection: socket.socket, data: bytes) -> bytes:
    """Return everything that is received until the other side closes."""
    received = b""
    with connection:
        connection.sendall(data)
        while more := connection.recv(65536):
            received += more
    return received


def test_http_2_by_its_preface_alone_is_refused(new_gateway: NewGateway) -> None:
    """45 such connections of one key took 4 GB, and the kernel killed the engine: ALPN is not the only way in."""
    answer = answer_to(new_gateway().connect(), PREFACE)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_http_2_is_refused_on_the_listener_for_metrics_too(new_gateway: NewGateway) -> None:
    address, _, port = new_gateway().places.metrics_address.rpartition(":")
    connection = socket.create_connection((address, int(port)), timeout=DEADLINE_S)
    assert answer_to(connection, PREFACE).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "headers",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ),
    ],
    ids=["h2c", "websocket"],
)
def test_no_upgrade_reaches_the_engine(new_gateway: NewGateway, engine: EngineDouble, headers: tuple[str, ...]) -> None:
    lines = ["GET /v1/models HTTP/1.1", "Host: g", f"Authorization: Bearer {CLIENT_KEY}", *headers, "", ""]
    with new_gateway().connect() as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert read_reply(connection).status == 200
    (got,) = [each for each in engine.received if each.target != "/health"]
    seen = {name.lower(): value.lower() for name, value in got.headers.items()}
    assert "upgrade" not in seen
    assert seen.get("connection", "close") == "close"


SIZES = [
    (PLACES, GatewaySpec()),
    (1, GatewaySpec(max_queue=0)),
    (PLACES, GatewaySpec(max_queue=240)),
    (128, GatewaySpec(max_queue=1000, max_body_kib=64)),
    (PLACES, GatewaySpec(max_queue=16, max_body_kib=2048)),
]


@pytest.mark.parametrize(
    ("places", "spec"), SIZES, ids=[f"{places}-{spec.max_queue}-{spec.max_body_kib}" for places, spec in SIZES]
)
def test_connections_and_buffers_fit_the_reserved_memory(places: int, spec: GatewaySpec) -> None:
    size = gateway_size(spec, places)
    requests = places + spec.max_queue
    assert requests < size.connections_per_client < size.connections <= size.buffers
    assert size.buffers * size.buffer_bytes < size.memory_mib * MIB <= CPU_HOST_MIB * MIB


def test_requests_at_providers_take_no_connection_from_the_others() -> None:
    """Slow providers could hold all of them: then nobody could connect."""
    without, most = GatewaySpec(max_queue=16), 100
    beside = GatewaySpec(max_queue=16).model_copy(update={"overflow": overflow_spec(max_requests=most)})
    few, many = gateway_size(without, 4, 4096), gateway_size(beside, 4, 4096)
    assert many.connections - few.connections == many.buffers - few.buffers == most
    assert many.connections_per_client - few.connections_per_client == most
    problem = too_large(beside.model_copy(update={"overflow": overflow_spec(max_requests=4096)}), 4, 512, "the host")
    assert problem
    assert problem.what.startswith(
        "16 waiting and 4 running requests, and 4096 at providers (overflow.max_requests), may need"
    )


@pytest.mark.parametrize(
    ("memory_gib", "gpu", "mib"),
    [(6, False, 512), (512, False, 512), (2, True, 512), (16, True, 2048)],
)
def test_the_memory_reserved_for_the_gateway(memory_gib: float, gpu: bool, mib: int) -> None:
    assert reserved_mib(memory_gib, gpu=gpu) == mib


@pytest.mark.parametrize(
    ("memory_gib", "mib", "with_grafana"),
    [(1, 512, 512), (1.5, 512, 512), (2, 896, 512), (3, 1536, 1152), (4, 2048, 2048), (64, 32768, 32768)],
)
def test_a_machine_of_the_gateways_own_keeps_memory_for_its_monitoring(
    memory_gib: float, mib: int, with_grafana: int
) -> None:
    assert reserved_alone_mib(memory_gib, GatewaySpec()) == mib
    url = "https://example.com/grafana_12.0.0_amd64.deb"
    grafana = {"deb": url, "sha256": "0" * 64, "admin_password": {"env": "GRAFANA_PASSWORD"}}
    monitored = GatewaySpec.model_validate({"monitoring": {"grafana": grafana}})
    assert reserved_alone_mib(memory_gib, monitored) == with_grafana


@pytest.mark.parametrize("queues", [2, 3, 8])
@pytest.mark.parametrize("places", [32, 1024])
def test_the_memory_that_an_error_names_is_the_least_that_fits(queues: int, places: int) -> None:
    gateway = GatewaySpec(clients=("web", "nightly"))
    gib = alone_gib(gateway, places, queues)
    fits = [
        too_large(gateway, places, reserved_alone_mib(each, gateway), "it", queues) is None for each in (gib - 1, gib)
    ]
    assert fits == [False, True]


def test_memory_stays_bounded_when_every_connection_fills_its_buffer(
    new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sends a megabyte of endless headers, which needs no key; then a client is served."""
    few = {"connections": 24, "connections_per_client": 24, "buffers": 32}
    set_limits(monkeypatch, **few)
    gateway = new_gateway()
    before = resident_mib(gateway.worker())
    connections = []
    for number in range(20):
        connection = gateway.connect()
        connection.sendall(
            b"GET /health HTTP/1.1\r\n" + b"".join(b"a%d: %s\r\n" % (n, b"x" * 8000) for n in range(125))
        )
        connections.append(connection)
        assert number < few["connections"]
    assert (
        resident_mib(gateway.worker()) - before < few["buffers"] * Limits.of(GatewaySpec(), PLACES).buffer_bytes / MIB
    )
    assert gateway.ask("GET", "/health", key=None).status == 200
    for connection in connections:
        connection.close()


def resident_mib(pid: str) -> float:
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kib) / 1024


def test_handshake_that_never_begins_is_cut_off(new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """292 connections without a byte locked all clients out for 600 s, until the client timeout."""
    assert Limits.of(GatewaySpec(), PLACES).silent_client_s <= 15
    set_limits(monkeypatch, silent_client_s=1)
    with new_gateway(request_timeout_s=600).connect_plain() as silent:
        assert silent.recv(1) == b""


def test_handshake_byte_by_byte_is_cut_off(new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, silent_client_s=1)
    with new_gateway().connect_plain() as slow:
        assert closes_while_sending(slow, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))


def test_head_byte_by_byte_is_cut_off(new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, header_s=1)
    with new_gateway().connect() as slow:
        assert closes_while_sending(slow, b"GET /health HTTP/1.1\r\nX: " + b"x" * 200)


def test_body_byte_by_byte_is_cut_off(
    new_gateway: NewGateway, engine: EngineDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, body_s=1)
    with new_gateway().connect() as slow:
        slow.sendall(head("Content-Length: 1000"))
        assert closes_while_sending(slow, b"x" * 200)
    assert [got for got in engine.received if got.target != "/health"] == []


def closes_while_sending(connection: socket.socket, data: bytes) -> bool:
    """Send a byte each 0.1 s; return whether the other side closes or answers before the last one."""
    connection.settimeout(0.1)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return True
        return True
    return False


def test_idle_connection_is_closed(new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, silent_client_s=1)
    with new_gateway().connect() as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n")
        assert read_reply(idle).status == 200
        assert idle.recv(1) == b""


def test_engine_may_think_longer_than_a_client_may_be_silent(
    new_gateway: NewGateway, engine: EngineDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, silent_client_s=1)
    gateway = new_gateway()
    engine.hold.clear()
    timer = threading.Timer(1.5, engine.hold.set)
    timer.start()
    assert gateway.ask("POST", "/v1/chat/completions", body=b'{"model":"tiny"}').status == 200
    engine.steps = threading.Semaphore(0)
    stream = Stream(gateway)
    with stream.connection:
        for token in TOKENS[:2]:
            threading.Timer(1.5, engine.steps.release).start()
            stream.read_until(token.encode())
        engine.steps.release(len(TOKENS))
        stream.read_until(b"[DONE]")


def test_both_ends_of_a_long_answer_are_kept_alive(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """Routers forget a silent connection, some after a minute: a client behind NAT then waited forever.

    An engine's host that loses its power closes nothing: its requests waited 90 s until they went to another host.
    """
    gateway = new_gateway()
    engine.steps = threading.Semaphore(0)
    stream = Stream(gateway)
    with stream.connection:
        wait_for(lambda: engine.running == 1, "the engine")
        for end, most_s in ((rf"{ADDRESS}:{gateway.port}\s+\S+", 30), (rf"{ADDRESS}:\d+\s+{ADDRESS}:{engine.port}", 5)):
            wait_for(lambda: is_kept_alive(end, most_s), f"a keep-alive timer of {most_s} s at {end}")  # noqa: B023  # at once
        engine.steps.release(len(TOKENS))
        stream.read_until(b"[DONE]")


def is_kept_alive(end: str, most_s: int) -> bool:
    """Return whether the kernel will probe the other end of a connection within `most_s` (keep-alive)."""
    listing = subprocess.run(["ss", "-tnoH", "state", "established"], capture_output=True, text=True, check=True)
    lines = [line for line in listing.stdout.splitlines() if re.search(end, line)]
    timers = [re.search(r"timer:\(keepalive,([\d.]+)(sec|ms)", line) for line in lines]
    return any(timer and (timer[2] == "ms" or float(timer[1]) <= most_s) for timer in timers)


@pytest.mark.parametrize(
    ("address", "sources", "keys"),
    [
        ("::1", ["::1"], {"::"}),
        ("::ffff:127.0.0.1", ["127.0.0.1", "127.0.0.2"], {"::ffff:127.0.0.1", "::ffff:127.0.0.2"}),
        ("127.0.0.1", ["127.0.0.1", "127.0.0.3"], {"::ffff:127.0.0.1", "::ffff:127.0.0.3"}),
    ],
    ids=["an IPv6 network of 64 bits", "IPv4 on an IPv6 socket", "IPv4"],
)
def test_connections_are_counted_by_ipv4_address_or_ipv6_network(
    tmp_path: Path, address: str, sources: list[str], keys: set[str]
) -> None:
    """One IPv6 client has 2^64 addresses; IPv4 clients, on the socket ::ffff:a.b.c.d, must not count as one network."""
    to = "::1" if address == "::1" else ADDRESS
    with running_engine() as engine, running_gateway(tmp_path, engine, address=address) as gateway:
        connections = [gateway.connect_plain(source, to) for source in sources]
        wait_for(lambda: len(counted(gateway)) == len(keys), "all are counted")
        assert counted(gateway) == keys
        for connection in connections:
            connection.close()


def counted(gateway: RunningGateway) -> set[str]:
    return set(re.findall(r"key=(\S+)", gateway.admin("show table gateway")))
