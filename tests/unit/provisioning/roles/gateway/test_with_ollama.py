"""Which requests get through the gateway to Ollama, on a real HAProxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import ollama_serving, running_gateway

CHAT = b'{"model":"tiny"}'


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    """An engine that answers every path, with or without a key."""
    with running_engine() as double:
        double.faults |= {"open_paths", "no_key_needed"}
        yield double


OPENAI_OF_OLLAMA = [
    ("POST", "/v1/embeddings", 200),
    ("POST", "/v1/responses", 200),
    ("GET", "/v1/models/tiny", 200),
    ("GET", "/v1/models/tiny:latest", 200),
    ("GET", "/v1/models/tiny%3Alatest", 200),
    ("GET", "/v1/models/tiny%3alatest", 200),
    ("GET", "/v1/models/other", 404),
    ("GET", "/v1/models/tiny/..", 404),
    ("POST", "/v1/models/tiny", 404),
    ("GET", "/v1/embeddings", 404),
    ("POST", "/v1/messages", 200),
    ("POST", "/v1/messages/count_tokens", 404),
    ("POST", "/v1/images/generations", 404),
]


def test_ollamas_part_of_openais_api_passes_with_a_key(engine: EngineDouble, tmp_path: Path) -> None:
    """Only paths that vLLM also has were passed; vLLM's other paths are still in FORBIDDEN."""
    with running_gateway(tmp_path, engine, serving=ollama_serving(engine.port)) as gateway:
        for method, path, status in OPENAI_OF_OLLAMA:
            assert gateway.ask(method, path, body=CHAT if method == "POST" else b"").status == status, path
            is_model = method == "GET" and path == "/v1/models/other"
            assert gateway.ask(method, path, key=None).status == (401 if status == 200 or is_model else 404), path


OLLAMA_REQUESTS = [("POST", "/api/chat"), ("POST", "/api/generate"), ("GET", "/api/tags")]


@pytest.mark.parametrize("native_api", [False, True])
def test_ollamas_own_paths_pass_if_configured_and_without_a_key(
    engine: EngineDouble, tmp_path: Path, native_api: bool
) -> None:
    serving = ollama_serving(engine.port, native_api=native_api)
    with running_gateway(tmp_path, engine, serving=serving) as gateway:
        statuses = {gateway.ask(method, path, body=CHAT).status for method, path in OLLAMA_REQUESTS}
        assert statuses == ({200} if native_api else {404})
        assert gateway.ask("GET", "/v1/models").status == 200
        assert gateway.ask("GET", "/health", key=None).status == 200
        refused = [gateway.ask(method, path, key=None).status for method, path in OLLAMA_REQUESTS]
        assert set(refused) == ({401} if native_api else {404})
        assert gateway.ask("POST", "/api/pull").status == 404
        assert gateway.ask("DELETE", "/api/delete").status == 404
    assert engine.received
    assert all("authorization" not in {name.lower() for name in got.headers} for got in engine.received)
