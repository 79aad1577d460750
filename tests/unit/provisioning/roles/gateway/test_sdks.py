"""What the official SDKs, LangChain and LLMClient make of the gateway's answers, on a real HAProxy.

tests/machine/sdk_calls.py has what they do with real engines.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from serving.client import LLMClient, LLMError, Retries, Settings
from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import CLIENT_KEY, RunningGateway, free_port, running_gateway, wait_for

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineDouble]:
    with running_engine() as double:
        yield double


@pytest.fixture(scope="module")
def gateway(engine: EngineDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("sdks"), engine, max_concurrency=1, max_queue=0) as running:
        yield running


class Clients:
    """The clients of one gateway. None of them sends a request twice."""

    def __init__(self, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(gateway.ca))  # as docs/gateway.md says
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        self.gateway = gateway
        self.open: list[Any] = []

    def openai(self, key: str = CLIENT_KEY) -> openai.OpenAI:
        self.open.append(openai.OpenAI(api_key=key, base_url=f"{self.gateway.url}/v1", max_retries=0))
        client: openai.OpenAI = self.open[-1]
        return client

    def anthropic(self, key: str = CLIENT_KEY, **options: Any) -> anthropic.Anthropic:
        self.open.append(anthropic.Anthropic(api_key=key, base_url=self.gateway.url, max_retries=0, **options))
        client: anthropic.Anthropic = self.open[-1]
        return client

    def langchain(self, key: str = CLIENT_KEY, model: str = "tiny") -> ChatOpenAI:
        url = f"{self.gateway.url}/v1"
        # A connection pool of its own: LangChain shares one between clients, with the CA of another gateway.
        self.open.append(openai.DefaultHttpxClient())
        return ChatOpenAI(model=model, api_key=SecretStr(key), base_url=url, max_retries=0, http_client=self.open[-1])

    def ours(self, key: str = CLIENT_KEY, model: str = "tiny", **options: Any) -> LLMClient:
        url = f"{self.gateway.url}/v1"
        settings = Settings(provider="gateway", model=model, url=url, key=key, ca=self.gateway.ca)
        self.open.append(LLMClient(settings, **{"retries": Retries(count=0), **options}))
        client: LLMClient = self.open[-1]
        return client

    def close(self) -> None:
        for client in self.open:
            client.close()


@pytest.fixture
def clients(gateway: RunningGateway, engine: EngineDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    made = Clients(gateway, monkeypatch)
    yield made
    made.close()
    engine.faults.clear()
    engine.hold.set()


def chat(client: openai.OpenAI, model: str = "tiny") -> Any:
    return client.chat.completions.create(model=model, messages=HELLO)


def message(client: anthropic.Anthropic, model: str = "tiny") -> Any:
    return client.messages.create(model=model, messages=HELLO, max_tokens=4)


Ask = Callable[[Clients, str, str], object]
ASKS: dict[str, Ask] = {
    "openai": lambda clients, key, model: chat(clients.openai(key), model),
    "anthropic": lambda clients, key, model: message(clients.anthropic(key), model),
    "langchain": lambda clients, key, model: clients.langchain(key, model).invoke("Hello"),
    "ours": lambda clients, key, model: clients.ours(key, model).chat("Hello"),
}
KINDS: dict[str, dict[int, type[Exception]]] = {
    "openai": {
        401: openai.AuthenticationError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
        503: openai.InternalServerError,
    },
    "anthropic": {
        401: anthropic.AuthenticationError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        503: anthropic.ServiceUnavailableError,
    },
    "ours": dict.fromkeys((401, 404, 429, 503), LLMError),
}
KINDS["langchain"] = KINDS["openai"]
CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "queue_full", 503: "engine_unavailable"}


def refusal(kind: str, status: int, clients: Clients, *, key: str = CLIENT_KEY, model: str = "tiny") -> Any:
    """Return the error that a client raises. It must be its own kind for `status`, with our code."""
    with pytest.raises(KINDS[kind][status]) as raised:
        ASKS[kind](clients, key, model)
    error: Any = raised.value
    assert CODES[status] in (error.code if kind in ("openai", "langchain") else str(error))
    assert (error.status if kind == "ours" else error.status_code) == status
    return error


@pytest.mark.parametrize("kind", ASKS)
def test_a_wrong_key(clients: Clients, kind: str) -> None:
    refusal(kind, 401, clients, key="sk-wrong")


@pytest.mark.parametrize("kind", ASKS)
def test_an_unknown_model(clients: Clients, kind: str) -> None:
    refusal(kind, 404, clients, model="nope")


@pytest.mark.parametrize("kind", ASKS)
def test_a_full_queue(clients: Clients, engine: EngineDouble, kind: str) -> None:
    engine.hold.clear()
    with ThreadPoolExecutor(1) as people:
        first = people.submit(chat, clients.openai())
        wait_for(lambda: engine.running == 1, "the first request")
        error = refusal(kind, 429, clients)
        engine.hold.set()
        assert first.result().choices[0].message.content
    retry_after = error.retry_after_s if kind == "ours" else float(error.response.headers["retry-after"])
    assert retry_after > 0


@pytest.mark.parametrize("kind", ASKS)
def test_an_engine_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with running_gateway(tmp_path, free_port()) as gateway, closing(Clients(gateway, monkeypatch)) as clients:
        refusal(kind, 503, clients)


def test_our_client_waits_as_long_as_the_gateway_says(clients: Clients, engine: EngineDouble) -> None:
    """The place is free when it comes back."""
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        engine.hold.set()
        wait_for(lambda: engine.running == 0, "a free place")

    engine.hold.clear()
    with ThreadPoolExecutor(1) as people:
        first = people.submit(chat, clients.openai())
        wait_for(lambda: engine.running == 1, "the first request")
        assert clients.ours(retries=Retries(sleep=wait)).chat("Hello").text
        assert first.result().choices
    assert len(waited) == 1
    assert waited[0] >= 1


def test_a_stream_with_its_usage(clients: Clients) -> None:
    options: Any = {"include_usage": True}
    stream = clients.openai().chat.completions.create(model="tiny", messages=HELLO, stream=True, stream_options=options)
    events = list(stream)
    text = "".join(choice.delta.content or "" for event in events for choice in event.choices)
    assert text == "one two three four "
    assert events[-1].usage
    assert events[-1].usage.completion_tokens == 4

    ours = clients.ours().stream("Hello")
    assert "".join(ours) == text
    assert (ours.answer.output_tokens, ours.answer.cost_usd) == (4, None)
    assert "".join(str(piece.content) for piece in clients.langchain().stream("Hello")) == text


def test_models(clients: Clients) -> None:
    client = clients.openai()
    assert {model.id for model in client.models.list()} == {"tiny", "contract", "contract@1"}
    assert [client.models.retrieve(name).id for name in ("tiny", "contract@1")] == ["tiny", "contract@1"]
    with pytest.raises(openai.NotFoundError, match="There is no such model"):
        client.models.retrieve("contract@9")


def test_the_key_of_older_anthropic_clients(clients: Clients) -> None:
    """Version 1 of Anthropic's SDK sends x-api-key, version 2 a bearer; with both set, both are the same key."""
    wrong = clients.anthropic("x", default_headers={"Authorization": anthropic.Omit(), "x-api-key": "sk-wrong"})
    with pytest.raises(anthropic.AuthenticationError, match="invalid_api_key"):
        message(wrong)
    for headers in ({"Authorization": anthropic.Omit(), "x-api-key": CLIENT_KEY}, {"x-api-key": CLIENT_KEY}):
        with pytest.raises(anthropic.NotFoundError, match="unknown_url"):  # from the engine: the key was right
            message(clients.anthropic(CLIENT_KEY, default_headers=headers))


def test_a_request_id_is_in_the_access_log(clients: Clients, gateway: RunningGateway) -> None:
    answer = clients.ours().chat("Hello", request_id="app-17")
    assert answer.request_id == "app-17"
    assert gateway.logged("app-17")["status"] == 200
