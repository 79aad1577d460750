"""Which requests get through the gateway to the engine, on a real HAProxy."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.doubles.engine import ENGINE_KEY, EngineDouble, running_engine
from tests.gateways import CLIENT_KEY, SECOND_KEY, RunningGateway, adapter_serving, running_gateway

CHAT = b'{"model":"tiny"}'


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineDouble]:
    """An engine that answers every path: a forbidden request that reaches it would get 200."""
    with running_engine() as double:
        double.faults.add("open_paths")
        yield double


@pytest.fixture(scope="module")
def gateway(engine: EngineDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), engine) as running:
        yield running


@pytest.fixture
def seen(engine: EngineDouble) -> EngineDouble:
    """The engine; it has received only health checks in this test."""
    engine.received.clear()
    return engine


def requests_to(engine: EngineDouble) -> list[str]:
    """Return the engine's requests, without health checks."""
    return [f"{got.method} {got.target}" for got in engine.received if got.target != "/health"]


ALLOWED = [
    ("GET", "/v1/models", "GET /v1/models"),
    ("POST", "/v1/chat/completions", "POST /v1/chat/completions"),
    ("POST", "/v1/completions", "POST /v1/completions"),
    ("POST", "/v1/responses", "POST /v1/responses"),
    ("POST", "/v1/messages", "POST /v1/messages"),
    ("POST", "/v1/messages?beta=true", "POST /v1/messages"),
    ("POST", "/v1/messages/count_tokens", "POST /v1/messages/count_tokens"),
    ("GET", "/v1/models?a=b", "GET /v1/models"),
    ("POST", "/v1/completions?path=/metrics", "POST /v1/completions"),
    ("GET", "https://gateway/v1/models", "GET /v1/models"),
]


@pytest.mark.parametrize(("method", "target", "arrives"), ALLOWED, ids=lambda value: value)
def test_allowed_path_arrives_unchanged(
    gateway: RunningGateway, seen: EngineDouble, method: str, target: str, arrives: str
) -> None:
    reply = gateway.ask(method, target, body=CHAT if method == "POST" else b"")
    assert reply.status == 200
    assert requests_to(seen) == [arrives]


FORBIDDEN = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/version"),
    ("GET", "/ping"),
    ("POST", "/pause"),
    ("POST", "/invocations"),
    ("POST", "/tokenize"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/responses"),
    ("GET", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("POST", "/v1/responses/"),
    ("DELETE", "/v1/responses/resp_1"),
    ("GET", "/v1/messages"),
    ("POST", "/v1/messages/batches"),
    ("POST", "/v1/messages/render"),
    ("POST", "/api/chat"),
    ("POST", "/api/generate"),
    ("GET", "/api/tags"),
    ("GET", "/v1"),
    ("GET", "/v1/"),
    ("GET", "/v1/models/"),
    ("GET", "//v1/models"),
    ("GET", "/v1//models"),
    ("GET", "/./v1/models"),
    ("GET", "/v1/./models"),
    ("GET", "/v1/x/../models"),
    ("GET", "/v1/models/../../metrics"),
    ("GET", "/v1/models/..%2f..%2fmetrics"),
    ("GET", "/v1/models/%2e%2e/%2e%2e/metrics"),
    ("GET", "/v1/models/tiny/x"),
    ("GET", "/v1/models/%74iny"),
    ("GET", "/v1/models/contract%2540"),
    ("GET", "/v1/models/.."),
    ("POST", "/v1/models/tiny"),
    ("HEAD", "/v1/models/tiny"),
    ("GET", "/v1/models;x=1"),
    ("GET", "/v1/models;/../../metrics"),
    ("GET", "/v1/models%00"),
    ("GET", "/v1/models%20"),
    ("GET", "/v1/models%2f"),
    ("GET", "/v1%2fmodels"),
    ("GET", "/%76%31/models"),
    ("GET", "/V1/models"),
    ("GET", "/v1/Models"),
    ("GET", "/v1\\models"),
    ("GET", "/HEALTH"),
    ("GET", "/health/"),
    ("GET", "/health/../metrics"),
    ("GET", "https://gateway/metrics"),
    ("GET", "https://gateway//v1/models"),
    ("GET", "https://gateway/"),
    ("GET", "https://gateway"),
    ("GET", "/?/v1/models"),
    ("OPTIONS", "*"),
    ("OPTIONS", "/v1/chat/completions"),
    ("GET", "/v1/chat/completions"),
    ("POST", "/v1/models"),
    ("HEAD", "/v1/models"),
    ("HEAD", "/health/"),
    ("HEAD", "/metrics"),
    ("PUT", "/v1/models"),
    ("DELETE", "/v1/models"),
    ("PATCH", "/v1/models"),
    ("TRACE", "/v1/models"),
    ("get", "/v1/models"),
    ("POST", "/health"),
]


@pytest.mark.parametrize(("method", "target"), FORBIDDEN, ids=lambda value: value)
def test_every_other_spelling_stops_at_the_gateway(
    gateway: RunningGateway, seen: EngineDouble, method: str, target: str
) -> None:
    reply = gateway.ask(method, target, body=CHAT if method == "POST" else b"")
    assert reply.status == 404
    if method != "HEAD":
        assert reply.code == "unknown_url"
    assert requests_to(seen) == []


NO_HTTP = [
    ("GET", "v1/models"),
    ("GET", "http://"),
    ("GET", "https://elsewhere.example/v1/models"),
    ("GET", "https://elsewhere.example/metrics"),
    ("CONNECT", "127.0.0.1:22"),
    ("CONNECT", "/v1/models"),
    ("GET", "/v1/models HTTP/1.1\r\nX: y\r\n\r\nGET /metrics"),
    ("GET", "/v1/mod\x01els"),
    ("GET", "/v1/models#"),
    ("GET", "/v1/models#/../../metrics"),
    ("GET", "/v1/models x"),
    ("GE T", "/v1/models"),
]


@pytest.mark.parametrize(("method", "target"), NO_HTTP, ids=repr)
def test_malformed_http_stops_at_the_gateway(
    gateway: RunningGateway, seen: EngineDouble, method: str, target: str
) -> None:
    """HAProxy answers with its own HTML page here: a request that it cannot parse never reaches our rules."""
    assert gateway.ask(method, target, key=None).status in (400, 401, 404)
    assert requests_to(seen) == []


SECOND = b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n"

SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + SECOND,
    "chunks under another name": b"Transfer-Encoding: xchunked\r\n\r\n" + SECOND,
    "a folded header": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + SECOND,
    "a space before the colon": b"Content-Length : 5\r\n\r\nhello",
    "a negative length": b"Content-Length: -1\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_second_request_cannot_be_smuggled(gateway: RunningGateway, seen: EngineDouble, rest: bytes) -> None:
    head = f"POST /v1/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n".encode()
    with suppress(AssertionError, OSError):  # HAProxy may close without an answer; only the engine's requests count
        gateway.exchange(head + rest)
    assert not [line for line in requests_to(seen) if "metrics" in line]
    assert len(requests_to(seen)) <= 1


HEAD = f"Host: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\nConnection: close\r\n"

IN_ONE = b"%x\r\n%s\r\n" % (len(CHAT), CHAT)

IN_CHUNKS = {
    "plain": ("1.1", "", IN_ONE + b"0\r\n\r\n"),
    "extension": ("1.1", "", IN_ONE.replace(b"\r\n", b";name=value\r\n", 1) + b"0\r\n\r\n"),
    "many chunks": ("1.1", "", b"".join(b"1\r\n%c\r\n" % each for each in CHAT) + b"0\r\n\r\n"),
    "a length besides": ("1.1", "Content-Length: 50\r\n", IN_ONE + b"0\r\n\r\n"),
    "HTTP/1.0": ("1.0", "", IN_ONE + b"0\r\n\r\n"),
    "Expect": ("1.1", "Expect: 100-continue\r\n", IN_ONE + b"0\r\n\r\n"),
    "trailers": (
        "1.1",
        "Trailer: X-A\r\n",
        IN_ONE + b"0\r\nX-Data-Parallel-Rank: 1\r\nContent-Length: 50\r\nX-A: \x01\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("version", "headers", "body"), IN_CHUNKS.values(), ids=IN_CHUNKS.keys())
def test_body_in_chunks_reaches_the_engine_with_its_length_and_without_trailers(
    gateway: RunningGateway, seen: EngineDouble, version: str, headers: str, body: bytes
) -> None:
    """Trailers are headers that no rule of HAProxy sees: any name and any byte in them reached the engine."""
    head = f"POST /v1/completions HTTP/{version}\r\n{HEAD}{headers}Transfer-Encoding: chunked\r\n\r\n".encode()
    assert gateway.exchange(head + body).status == 200
    (got,) = [each for each in seen.received if each.target != "/health"]
    names = {name.lower(): value for name, value in got.headers.items()}
    assert (got.body, names["content-length"]) == (CHAT, str(len(CHAT)))
    assert not {"transfer-encoding", "trailer", "expect", "x-a", "x-data-parallel-rank"} & set(names)


CONTROLS = [("User-Agent", code) for code in (0x01, 0x08, 0x0B, 0x0C, 0x0E, 0x1B, 0x1F, 0x7F)]
CONTROLS += [(header, 0x1B) for header in ("traceparent", "Accept", "X-Other", "X-Request-Id")]


@pytest.mark.parametrize(("header", "code"), CONTROLS, ids=str)
def test_control_character_in_a_header_is_refused(
    gateway: RunningGateway, seen: EngineDouble, header: str, code: int
) -> None:
    """HAProxy lets them pass; they reached uvicorn and its log."""
    reply = gateway.ask("GET", "/v1/models", f"{header}: a{chr(code)}b")
    assert (reply.status, reply.code) == (400, "invalid_header")
    assert requests_to(seen) == []


def test_header_that_is_not_ascii_stays_at_the_gateway(gateway: RunningGateway, seen: EngineDouble) -> None:
    assert gateway.ask("GET", "/v1/models", "User-Agent: caf\xe9", "Accept: */*").status == 200
    (got,) = [each for each in seen.received if each.target != "/health"]
    names = {name.lower() for name in got.headers}
    assert "accept" in names
    assert "user-agent" not in names


@pytest.mark.parametrize(
    ("coding", "status"),
    [
        ("gzip", 415),
        ("GZIP", 415),
        ("deflate", 415),
        ("br", 415),
        ("zstd", 415),
        ("identity, gzip", 415),
        ("identity\r\nContent-Encoding: gzip", 415),
        ("identity", 200),
        ("Identity", 200),
    ],
)
def test_compressed_body_is_refused(gateway: RunningGateway, seen: EngineDouble, coding: str, status: int) -> None:
    """It reached the engine, which parsed the compressed bytes as JSON."""
    reply = gateway.ask("POST", "/v1/completions", f"Content-Encoding: {coding}", body=CHAT)
    assert reply.status == status
    assert status == 200 or reply.code == "unsupported_content_encoding"
    assert len(requests_to(seen)) == (status == 200)


def test_pipelined_requests_are_checked_one_by_one(gateway: RunningGateway, seen: EngineDouble) -> None:
    first = f"GET /v1/models HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {CLIENT_KEY}\r\n\r\n"
    gateway.exchange((first + "GET /v1/models HTTP/1.1\r\nHost: g\r\n\r\n").encode())
    assert requests_to(seen) == ["GET /v1/models"]


KEYS = [
    ("right", [f"Authorization: Bearer {CLIENT_KEY}"], 200, ""),
    ("second client's", [f"Authorization: Bearer {SECOND_KEY}"], 200, ""),
    ("scheme in lower case", [f"authorization: bearer {CLIENT_KEY}"], 200, ""),
    ("two blanks", [f"Authorization: Bearer  {CLIENT_KEY}"], 200, ""),
    ("none", [], 401, "missing_api_key"),
    ("empty header", ["Authorization:"], 401, "missing_api_key"),
    ("scheme alone", ["Authorization: Bearer"], 401, "missing_api_key"),
    ("no scheme", [f"Authorization: {CLIENT_KEY}"], 401, "missing_api_key"),
    ("Basic", [f"Authorization: Basic {CLIENT_KEY}"], 401, "missing_api_key"),
    ("Anthropic's header", [f"X-Api-Key: {CLIENT_KEY}"], 200, ""),
    ("Azure's header", [f"api-key: {CLIENT_KEY}"], 200, ""),
    ("the same key twice", [f"api-key: {CLIENT_KEY}", f"Authorization: Bearer {CLIENT_KEY}"], 200, ""),
    (
        "the same key three times",
        [f"{name}: {CLIENT_KEY}" for name in ("api-key", "x-api-key")] + [f"Authorization: Bearer {CLIENT_KEY}"],
        200,
        "",
    ),
    ("an empty header besides", ["x-api-key:", f"Authorization: Bearer {CLIENT_KEY}"], 200, ""),
    ("a scheme in another header", [f"x-api-key: Bearer {CLIENT_KEY}"], 401, "missing_api_key"),
    ("another header, empty", ["x-api-key:"], 401, "missing_api_key"),
    ("another header, wrong", ["x-api-key: sk-unknown"], 401, "invalid_api_key"),
    ("another header, the engine's", [f"api-key: {ENGINE_KEY}"], 401, "invalid_api_key"),
    ("Basic besides", [f"x-api-key: {CLIENT_KEY}", "Authorization: Basic eA=="], 401, "missing_api_key"),
    ("unknown header", [f"X-Key: {CLIENT_KEY}"], 401, "missing_api_key"),
    ("key in the query", [], 401, "missing_api_key"),
    ("two headers", [f"Authorization: Bearer {CLIENT_KEY}", "Authorization: Bearer x"], 401, "missing_api_key"),
    ("two keys", [f"Authorization: Bearer {CLIENT_KEY} x"], 401, "missing_api_key"),
    ("unknown", ["Authorization: Bearer sk-unknown"], 401, "invalid_api_key"),
    ("one letter off", [f"Authorization: Bearer {CLIENT_KEY[:-1]}"], 401, "invalid_api_key"),
    ("one letter more", [f"Authorization: Bearer {CLIENT_KEY}a"], 401, "invalid_api_key"),
    ("other case", [f"Authorization: Bearer {CLIENT_KEY.upper()}"], 401, "invalid_api_key"),
    ("the engine's", [f"Authorization: Bearer {ENGINE_KEY}"], 401, "invalid_api_key"),
    ("a list", [f"Authorization: Bearer {CLIENT_KEY},{SECOND_KEY}"], 401, "invalid_api_key"),
]


@pytest.mark.parametrize(("headers", "status", "code"), [case[1:] for case in KEYS], ids=[case[0] for case in KEYS])
def test_key_opens_or_is_refused(
    gateway: RunningGateway, seen: EngineDouble, headers: list[str], status: int, code: str
) -> None:
    reply = gateway.ask("GET", f"/v1/models?api_key={CLIENT_KEY}", *headers, key=None)
    assert reply.status == status
    if status == 200:
        assert requests_to(seen) == ["GET /v1/models"]
    else:
        assert reply.code == code
        assert reply.headers["www-authenticate"].startswith('Bearer realm="llm"')
        assert requests_to(seen) == []


TWO_KEYS = {
    "bearer and x-api-key": [f"Authorization: Bearer {CLIENT_KEY}", f"x-api-key: {SECOND_KEY}"],
    "bearer and api-key": [f"Authorization: Bearer {CLIENT_KEY}", f"api-key: {SECOND_KEY}"],
    "x-api-key and api-key": [f"x-api-key: {CLIENT_KEY}", f"api-key: {SECOND_KEY}"],
    "one of them wrong": [f"x-api-key: {CLIENT_KEY}", "api-key: x"],
    "one of them with a blank": [f"Authorization: Bearer {CLIENT_KEY}", f"x-api-key: {CLIENT_KEY} x"],
    "one header twice": [f"x-api-key: {CLIENT_KEY}", f"x-api-key: {CLIENT_KEY}"],
}


@pytest.mark.parametrize("headers", TWO_KEYS.values(), ids=TWO_KEYS.keys())
def test_two_keys_that_differ_are_refused(gateway: RunningGateway, seen: EngineDouble, headers: list[str]) -> None:
    """Which client it is would depend on the order of our rules."""
    reply = gateway.ask("GET", "/v1/models", *headers, key=None)
    assert (reply.status, reply.code) == (400, "conflicting_api_keys")
    assert requests_to(seen) == []


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
def test_a_key_in_any_header_is_the_clients_and_stays_here(
    gateway: RunningGateway, seen: EngineDouble, header: str
) -> None:
    reply = gateway.ask("GET", "/v1/models", f"{header}: {SECOND_KEY}", key=None)
    assert gateway.logged(reply.headers["x-request-id"])["client"] == "second"
    assert SECOND_KEY not in gateway.log()
    (got,) = [each for each in seen.received if each.target != "/health"]
    assert SECOND_KEY not in str(got.headers)
    assert header not in {name.lower() for name in got.headers}


MODELS = [
    ("/v1/models/tiny", 200, "tiny"),
    ("/v1/models/contract@1", 200, "contract@1"),
    ("/v1/models/contract%401", 200, "contract@1"),
    ("/v1/models/contract", 200, "contract"),
    ("/v1/models/contract@1?x=y", 200, "contract@1"),
    ("/v1/models/contract@2", 404, None),
    ("/v1/models/contract:1", 404, None),
    ("/v1/models/contract%3a1", 404, None),
    ("/v1/models/TINY", 404, None),
    ("/v1/models/gpt-4o", 404, None),
]


@pytest.fixture(scope="module")
def with_adapter(engine: EngineDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("adapter"), engine, serving=adapter_serving(engine.port)) as running:
        yield running


@pytest.mark.parametrize(("path", "status", "name"), MODELS)
def test_one_model_is_described_by_the_gateway(
    with_adapter: RunningGateway, seen: EngineDouble, path: str, status: int, name: str | None
) -> None:
    """vLLM has no such path; clients call it to see whether a model exists."""
    reply = with_adapter.ask("GET", path)
    assert reply.status == status
    if name:
        assert json.loads(reply.body) == {"id": name, "object": "model", "created": 0, "owned_by": "vllm"}
    else:
        assert reply.code == "model_not_found"
    assert with_adapter.ask("GET", path, key=None).status == 401
    assert requests_to(seen) == []


def test_hash_of_a_key_is_not_a_key(gateway: RunningGateway) -> None:
    """A reader of the host's file of hashes cannot use them as keys."""
    for line in Path(gateway.places.keys).read_text().splitlines():
        assert gateway.ask("GET", "/v1/models", key=line.split()[0]).status == 401


def test_engine_sees_its_own_key_and_few_headers(gateway: RunningGateway, seen: EngineDouble) -> None:
    """Engines act on headers: vLLM picks a replica by X-data-parallel-rank, Ollama refuses a foreign Host or Origin."""
    sent = ("X-Data-Parallel-Rank: 1", "X-Forwarded-For: 192.0.2.1", "Origin: https://x.example", "Cookie: a=b")
    gateway.ask("POST", "/v1/completions", *sent, "traceparent: 00-1-2-3", "User-Agent: test", body=CHAT)
    (got,) = [each for each in seen.received if each.target != "/health"]
    headers = {name.lower(): value for name, value in got.headers.items()}
    assert headers.pop("x-request-id")
    assert headers == {
        "host": f"127.0.0.1:{seen.port}",
        "authorization": f"Bearer {ENGINE_KEY}",
        "content-length": str(len(CHAT)),
        "traceparent": "00-1-2-3",
        "user-agent": "test",
        "connection": "close",
    }


def test_engines_own_key_is_not_in_the_configuration(gateway: RunningGateway) -> None:
    assert ENGINE_KEY not in Path(gateway.places.config).read_text()


def test_health_needs_no_key_and_never_reaches_the_engine(gateway: RunningGateway, seen: EngineDouble) -> None:
    reply = gateway.ask("GET", "/health", "X-Request-Id: health-1", key=None)
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert not [each for each in seen.received if "X-Request-Id" in each.headers or "x-request-id" in each.headers]


def test_health_also_answers_head(gateway: RunningGateway) -> None:
    """Monitors use HEAD, and got 404."""
    with gateway.connect() as connection:
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


REQUEST_IDS = [
    ("plain", ["X-Request-Id: abc-1.2:3_Z"], "abc-1.2:3_Z"),
    ("longest", ["X-Request-Id: " + "a" * 128], "a" * 128),
    ("too long", ["X-Request-Id: " + "a" * 129], None),
    ("blank inside", ["X-Request-Id: a b"], None),
    ("quote", ['X-Request-Id: a"b'], None),
    ("not ASCII", ["X-Request-Id: ä"], None),
    ("two", ["X-Request-Id: a", "X-Request-Id: b"], None),
    ("list", ["X-Request-Id: a,b"], None),
    ("empty", ["X-Request-Id:"], None),
    ("none", [], None),
]


@pytest.mark.parametrize(
    ("headers", "kept"), [case[1:] for case in REQUEST_IDS], ids=[str(case[0]) for case in REQUEST_IDS]
)
def test_request_id_is_kept_if_well_formed_and_created_otherwise(
    gateway: RunningGateway, seen: EngineDouble, headers: list[str], kept: str | None
) -> None:
    reply = gateway.ask("GET", "/v1/models", *headers)
    given = reply.headers["x-request-id"]
    assert given == kept if kept else len(given) == 36
    (got,) = [each for each in seen.received if each.target != "/health"]
    assert {name.lower(): value for name, value in got.headers.items()}["x-request-id"] == given
    assert gateway.logged(given)["status"] == 200


def test_refusals_also_carry_a_request_id(gateway: RunningGateway) -> None:
    assert gateway.ask("GET", "/metrics").headers["x-request-id"]
    assert gateway.ask("GET", "/v1/models", key=None).headers["x-request-id"]


def test_engines_name_is_hidden(gateway: RunningGateway) -> None:
    assert "server" not in gateway.ask("GET", "/v1/models").headers


def test_metrics_are_on_loopback_only_and_apart_from_the_gateway(gateway: RunningGateway) -> None:
    import urllib.request

    with urllib.request.urlopen(f"http://{gateway.places.metrics_address}/metrics") as answer:
        assert b'haproxy_backend_http_responses_total{proxy="main"' in answer.read()
    assert gateway.places.__class__().metrics_address.startswith("127.0.0.1:")
