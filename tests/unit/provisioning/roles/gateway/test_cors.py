"""Requests of pages in a browser (CORS), on a real HAProxy: which origins get an answer, and to what."""

from collections.abc import Iterator

import pytest

from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import CLIENT_KEY, Reply, RunningGateway, running_gateway

ORIGINS = ("https://app.example.com", "http://localhost:3000")
ASKS = (
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization,content-type,x-stainless-os",
)


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineDouble]:
    with running_engine() as double:
        yield double


@pytest.fixture(scope="module")
def gateway(engine: EngineDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("cors"), engine, cors_origins=ORIGINS) as running:
        yield running


def allowed(reply: Reply) -> dict[str, str]:
    """Return the headers of an answer that a browser's decision depends on."""
    return {name: text for name, text in reply.headers.items() if name.startswith("access-control-") or name == "vary"}


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/tiny", "/v1/models/contract%401"])
def test_a_browser_may_ask_first_and_without_a_key(
    gateway: RunningGateway, engine: EngineDouble, origin: str, path: str
) -> None:
    engine.received.clear()
    reply = gateway.ask("OPTIONS", path, f"Origin: {origin}", *ASKS, key=None)
    assert (reply.status, reply.body) == (204, b"")
    assert allowed(reply) == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization,content-type,x-stainless-os",
        "access-control-expose-headers": "X-Request-Id, Retry-After, X-Degraded, X-Served-By",
        "access-control-max-age": "600",
        "vary": "Origin",
    }
    assert not [got for got in engine.received if got.target != "/health"]


NOT_ASKED = {
    "another origin": ("/v1/models", ["Origin: https://evil.example.com", *ASKS]),
    "a longer host": ("/v1/models", ["Origin: https://app.example.com.evil.example", *ASKS]),
    "another scheme": ("/v1/models", ["Origin: http://app.example.com", *ASKS]),
    "another port": ("/v1/models", ["Origin: https://app.example.com:8443", *ASKS]),
    "capitals": ("/v1/models", ["Origin: https://APP.example.com", *ASKS]),
    "null": ("/v1/models", ["Origin: null", *ASKS]),
    "two origins": ("/v1/models", [f"Origin: {ORIGINS[0]}", f"Origin: {ORIGINS[1]}", *ASKS]),
    "no origin": ("/v1/models", ASKS),
    "no question": ("/v1/models", [f"Origin: {ORIGINS[0]}"]),
    "another path": ("/metrics", [f"Origin: {ORIGINS[0]}", *ASKS]),
    "a path in disguise": ("/v1/x/../models", [f"Origin: {ORIGINS[0]}", *ASKS]),
    "the star": ("*", [f"Origin: {ORIGINS[0]}", *ASKS]),
}


@pytest.mark.parametrize(("path", "headers"), NOT_ASKED.values(), ids=NOT_ASKED.keys())
def test_no_other_request_gets_an_answer(gateway: RunningGateway, path: str, headers: list[str]) -> None:
    reply = gateway.ask("OPTIONS", path, *headers, key=CLIENT_KEY)
    assert (reply.status, reply.code) == (404, "unknown_url")
    listed = [header for header in headers if header.startswith("Origin")] == [f"Origin: {ORIGINS[0]}"]
    assert ("access-control-allow-origin" in allowed(reply)) == listed
    assert reply.headers["vary"] == "Origin"


@pytest.mark.parametrize(("key", "status"), [(CLIENT_KEY, 200), ("wrong", 401)])
def test_a_listed_page_reads_answers_and_errors(gateway: RunningGateway, key: str, status: int) -> None:
    reply = gateway.ask("GET", "/v1/models", f"Origin: {ORIGINS[0]}", key=key)
    assert reply.status == status
    assert allowed(reply) == {
        "access-control-allow-origin": ORIGINS[0],
        "access-control-expose-headers": "X-Request-Id, Retry-After, X-Degraded, X-Served-By",
        "vary": "Origin",
    }


def test_another_page_gets_an_answer_that_its_browser_hides(gateway: RunningGateway) -> None:
    """A cache must not give it to a listed page, nor the other way round."""
    reply = gateway.ask("GET", "/v1/models", "Origin: https://evil.example.com")
    assert (reply.status, allowed(reply)) == (200, {"vary": "Origin"})


def test_without_origins_nothing_is_said(engine: EngineDouble, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_gateway(tmp_path_factory.mktemp("none"), engine) as gateway:
        reply = gateway.ask("OPTIONS", "/v1/models", f"Origin: {ORIGINS[0]}", *ASKS, key=None)
        assert (reply.status, allowed(reply)) == (404, {})
        assert allowed(gateway.ask("GET", "/v1/models", f"Origin: {ORIGINS[0]}")) == {}
