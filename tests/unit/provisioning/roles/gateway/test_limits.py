"""Limits on the size and duration of a request, on a real HAProxy."""

import ssl
from dataclasses import replace

import pytest

from provisioning.roles.gateway.process import Limits
from serving.spec.models import GatewaySpec
from tests.doubles.engine import EngineDouble
from tests.gateways import ADDRESS, CLIENT_KEY, DEADLINE_S, Reply, RunningGateway, body_of, read_reply, wait_for
from tests.unit.provisioning.conftest import NewGateway

KIB = 1024

PLACES = 16
"""Of a vLLM whose config names no limits."""


def head(*lines: str, key: str = CLIENT_KEY) -> bytes:
    """Return the head of a POST."""
    first = ("POST /v1/completions HTTP/1.1", "Host: g", f"Authorization: Bearer {key}")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def announced(body: bytes) -> bytes:
    """Return a request whose head gives the size of its body."""
    return head(f"Content-Length: {len(body)}") + body


def chunked(body: bytes, chunk_bytes: int) -> bytes:
    """Return a request with a chunked body."""
    pieces = [body[start : start + chunk_bytes] for start in range(0, len(body), chunk_bytes)]
    data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head("Transfer-Encoding: chunked") + data + b"0\r\n\r\n"


def set_limits(monkeypatch: pytest.MonkeyPatch, **others: int) -> None:
    """Make the role write other limits than the fixed ones."""
    usual = Limits.of
    monkeypatch.setattr(Limits, "of", lambda *wanted: replace(usual(*wanted), **others))


def received_bytes(engine: EngineDouble) -> list[int]:
    return [len(got.body) for got in engine.received if got.target != "/health"]


@pytest.mark.parametrize("limit_kib", [1, 64, 1024])
@pytest.mark.parametrize("sent", ["announced", "chunked"])
def test_body_of_just_the_limit_arrives_and_one_byte_more_gets_413(
    new_gateway: NewGateway, engine: EngineDouble, limit_kib: int, sent: str
) -> None:
    gateway = new_gateway(max_body_kib=limit_kib)

    def post(size: int) -> Reply:
        return gateway.exchange(announced(body_of(size)) if sent == "announced" else chunked(body_of(size), 4 * KIB))

    assert post(limit_kib * KIB).status == 200
    reply = post(limit_kib * KIB + 1)
    assert (reply.status, reply.code) == (413, "request_too_large")
    assert received_bytes(engine) == [limit_kib * KIB]


def test_chunks_of_one_byte_are_counted_by_their_content(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(max_body_kib=16)
    assert gateway.exchange(chunked(body_of(16 * KIB), 1)).status == 200
    assert received_bytes(engine) == [16 * KIB]


def test_body_far_above_the_limit_is_not_read_to_its_end(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(max_body_kib=16)
    with gateway.connect() as connection:
        connection.sendall(head("Content-Length: 1000000000") + b"x" * KIB)
        assert read_reply(connection).code == "request_too_large"
    assert received_bytes(engine) == []


def test_large_limit_holds_for_bodies_of_both_kinds(new_gateway: NewGateway, engine: EngineDouble) -> None:
    """A body beyond the buffer was passed on unread, so that nobody knew which model it asked for."""
    gateway = new_gateway(max_body_kib=3072)
    for send in (announced, lambda body: chunked(body, 64 * KIB)):
        assert gateway.exchange(send(body_of(3072 * KIB))).status == 200
        assert gateway.exchange(send(body_of(3072 * KIB + 1))).code == "request_too_large"
    assert received_bytes(engine) == [3072 * KIB] * 2


def test_body_is_refused_for_its_key_before_its_size(new_gateway: NewGateway) -> None:
    gateway = new_gateway(max_body_kib=1)
    with gateway.connect() as connection:
        connection.sendall(head("Content-Length: 100000", key="sk-wrong"))
        assert read_reply(connection).code == "invalid_api_key"


def test_large_headers_get_431(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    fits, too_much = (gateway.ask("GET", "/v1/models", f"X-Long: {'a' * size}") for size in (30 * KIB, 40 * KIB))
    assert fits.status == 200
    assert (too_much.status, too_much.code) == (431, "headers_too_large")
    assert received_bytes(engine) == [0]


def test_slow_body_takes_no_slot_and_gets_408(
    new_gateway: NewGateway, engine: EngineDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, body_s=1)
    gateway = new_gateway(max_concurrency=1, max_queue=0)
    with gateway.connect() as slow:
        slow.sendall(head("Content-Length: 10") + b"123")
        assert gateway.ask("GET", "/v1/models").status == 200
        reply = read_reply(slow)
    assert (reply.status, reply.code) == (408, "request_timeout")
    assert received_bytes(engine) == [0]


def test_slow_head_is_cut_off(new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, header_s=1)
    gateway = new_gateway()
    with gateway.connect() as slow:
        slow.sendall(b"GET /v1/models HTTP/1.1\r\nHost: g\r\n")
        assert read_reply(slow).status == 408


def test_one_client_cannot_take_every_connection(new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits.of(GatewaySpec(), PLACES)
    assert limits.connections_per_client < limits.connections
    set_limits(monkeypatch, connections_per_client=2)
    gateway = new_gateway()
    with gateway.connect(), gateway.connect(), pytest.raises((ssl.SSLError, OSError)):
        gateway.connect()
    wait_for(lambda: is_served(gateway), "HAProxy to see that the connections are closed")


def is_served(gateway: RunningGateway) -> bool:
    """Return whether a new connection gets an answer."""
    try:
        return gateway.ask("GET", "/health", key=None).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions_in_use_are_spoken(new_gateway: NewGateway, version: ssl.TLSVersion) -> None:
    gateway = new_gateway()
    assert handshake(gateway, version)[0] == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(gateway, ssl.TLSVersion.TLSv1_1)


def test_cipher_without_forward_secrecy_is_refused(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(gateway, ssl.TLSVersion.TLSv1_2, ciphers="AES128-GCM-SHA256")


def test_http_2_is_not_offered(new_gateway: NewGateway) -> None:
    """HAProxy 2.6 cancels an HTTP/2 stream that it answers before the body is in: clients would not see their 401."""
    gateway = new_gateway()
    assert handshake(gateway, ssl.TLSVersion.TLSv1_3, alpn=["h2", "http/1.1"])[1] == "http/1.1"


def handshake(
    gateway: RunningGateway, version: ssl.TLSVersion, *, ciphers: str = "", alpn: list[str] | None = None
) -> tuple[str | None, str | None]:
    """Return the negotiated TLS version and protocol."""
    import socket

    context = gateway.tls()
    context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(alpn)
    with (
        socket.create_connection((ADDRESS, gateway.port), timeout=DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname=ADDRESS) as connection,
    ):
        return connection.version(), connection.selected_alpn_protocol()
