"""The measuring client, against an engine double over real TLS."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.errors import CheckError, ConfigError
from serving.endpoint import Endpoint
from serving.timed_client import Answer, ApiError, Client, StreamedAnswer, tls_context
from tests.doubles.engine import ENGINE_KEY, TOKENS, EngineDouble
from tests.gateways import ADDRESS, free_port, wait_for

TEXT = "".join(TOKENS)


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as made:
        yield made


def test_models_come_in_the_endpoints_order(client: Client) -> None:
    assert client.models() == ["tiny", "contract", "contract@1"]


@pytest.mark.parametrize("ask", [Client.chat, Client.complete, Client.stream_chat])
def test_answer_has_text_tokens_and_time(client: Client, ask: Callable[..., Answer]) -> None:
    answer = ask(client, "tiny", "hello", max_tokens=8)
    assert (answer.text, answer.tokens) == (TEXT, 4)
    assert answer.seconds > 0
    assert ask(client, "tiny", "hello", max_tokens=2).tokens == 2


def test_requests_have_temperature_0(client: Client, engine: EngineDouble) -> None:
    client.chat("tiny", "hello", max_tokens=3)
    assert b'"temperature":0' in engine.received[-1].body.replace(b" ", b"")


def test_time_to_the_first_token_ends_with_the_first_token(client: Client, engine: EngineDouble) -> None:
    engine.steps = threading.Semaphore(1)
    found: list[StreamedAnswer] = []
    asking = threading.Thread(target=lambda: found.append(client.stream_chat("tiny", "hello", max_tokens=8)))
    asking.start()
    wait_for(lambda: engine.running == 1, "the stream has begun")
    threading.Event().wait(0.3)
    engine.steps.release(10)
    asking.join()
    assert found[0].first_token_s < 0.25
    assert found[0].seconds >= 0.3
    assert found[0].pieces == 4
    assert found[0].tokens_per_s == pytest.approx(3 / (found[0].seconds - found[0].first_token_s))


@pytest.mark.parametrize(("tokens", "pieces", "speed"), [(1, 1, 0), (5, 1, 0), (0, 0, 0), (11, 5, 10)])
def test_speed_counts_what_comes_after_the_first_token(tokens: int, pieces: int, speed: float) -> None:
    answer = StreamedAnswer(text="", tokens=tokens, seconds=1.5, first_token_s=0.5, pieces=pieces)
    assert answer.tokens_per_s == speed


FAULTS = [
    ("overloaded", "HTTP 503 overloaded", 503),
    ("broken_json", "no JSON object: '{'", 200),
]


@pytest.mark.parametrize(("fault", "message", "status"), FAULTS)
def test_error_is_reported_with_its_status(
    client: Client, engine: EngineDouble, fault: str, message: str, status: int
) -> None:
    engine.faults.add(fault)
    with pytest.raises(ApiError) as caught:
        client.chat("tiny", "hello", max_tokens=1)
    assert (str(caught.value), caught.value.status) == (message, status)


@pytest.mark.parametrize("fault", ["overloaded", "stream_cut", "hang_up"])
def test_stream_that_fails_is_reported(client: Client, engine: EngineDouble, fault: str) -> None:
    engine.faults.add(fault)
    with pytest.raises(CheckError):
        client.stream_chat("tiny", "hello", max_tokens=8)


def test_unknown_model_is_reported_with_its_code(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.chat("none", "hello", max_tokens=1)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_a_silent_endpoint_times_out(endpoint: Endpoint, engine: EngineDouble) -> None:
    engine.hold.clear()
    with (
        Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca, timeout_s=0.2) as client,
        pytest.raises(CheckError, match="no answer"),
    ):
        client.models()


def test_an_unreachable_url_is_reported(endpoint: Endpoint) -> None:
    url = f"https://{ADDRESS}:{free_port()}"
    with (
        Client(url, key=None, ca=endpoint.ca) as client,
        pytest.raises(CheckError, match=f"^{url}: no answer .*refused"),
    ):
        client.models()


def test_server_of_another_ca_gets_no_key(endpoint: Endpoint, engine: EngineDouble) -> None:
    with (
        Client(endpoint.url, key=endpoint.api_key(), ca=None) as client,
        pytest.raises(CheckError, match="CERTIFICATE"),
    ):
        client.models()
    assert engine.received == []


def test_proxy_of_the_environment_is_ignored(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{ADDRESS}:{free_port()}")
    assert client.models()


def test_key_is_not_in_what_is_printed(endpoint: Endpoint, client: Client) -> None:
    assert ENGINE_KEY not in repr(vars(client)["_url"]) + repr(endpoint.api_key())
    with (
        Client(endpoint.url, key=SecretStr("sk-wrong"), ca=endpoint.ca) as other,
        pytest.raises(ApiError) as caught,
    ):
        other.models()
    assert "sk-wrong" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_file_without_a_ca_is_reported(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="contains no CA"):
        tls_context(path)
