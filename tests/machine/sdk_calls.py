"""Calls of the official SDKs, LangChain, Open WebUI and LLMClient to a gateway with a real engine behind it.

Each function makes one call as an application would, and fails if the answer is not one.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from serving.client import LLMClient, Settings
from serving.endpoint import Endpoint

HELLO: Any = [{"role": "user", "content": "Hello"}]
TOKENS = 4
TIMEOUT_S = 300.0


class Target:
    """A gateway, with the clients of one test."""

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.ca
        self.url, self.key, self.ca = endpoint.url, endpoint.api_key().get_secret_value(), endpoint.ca
        self.model, self.adapter = endpoint.models[0], endpoint.adapters[0]
        self.http = httpx2.Client(verify=_tls(endpoint.ca), trust_env=False, timeout=TIMEOUT_S)
        self.openai = openai.OpenAI(
            api_key=self.key, base_url=f"{self.url}/v1", http_client=self.http, max_retries=0, timeout=TIMEOUT_S
        )
        self.anthropic = anthropic.Anthropic(
            api_key=self.key, base_url=self.url, http_client=self.http, max_retries=0, timeout=TIMEOUT_S
        )


def _tls(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


@contextmanager
def target(endpoint: Endpoint) -> Iterator[Target]:
    """Yield a target whose connections are closed at the end."""
    made = Target(endpoint)
    with made.http:
        yield made


def openai_chat(to: Target) -> None:
    """Ask the base model and an adapter."""
    for model in (to.model, to.adapter):
        reply = to.openai.chat.completions.create(model=model, messages=HELLO, max_tokens=TOKENS)
        assert reply.choices[0].message.content
        assert reply.usage
        assert reply.usage.completion_tokens == TOKENS


def openai_stream(to: Target) -> None:
    """Stream, with the usage in the last event."""
    stream = to.openai.chat.completions.create(
        model=to.adapter, messages=HELLO, max_tokens=TOKENS, stream=True, stream_options={"include_usage": True}
    )
    *_, last = list(stream)
    assert last.usage
    assert last.usage.completion_tokens == TOKENS


def openai_completion(to: Target) -> None:
    """Complete a text."""
    assert to.openai.completions.create(model=to.adapter, prompt="Hello", max_tokens=TOKENS).choices[0].text


def openai_models(to: Target) -> None:
    """List the models, and ask for each by its name, with its version too."""
    names = [model.id for model in to.openai.models.list()]
    assert len(names) > 2
    assert [to.openai.models.retrieve(name).id for name in names] == names
    try:
        to.openai.models.retrieve("nobody")
    except openai.NotFoundError:
        return
    raise AssertionError("a model that does not exist was described")


def openai_responses(to: Target) -> None:
    """Use OpenAI's newer API, with a text and with a conversation."""
    answer = to.openai.responses.create(model=to.adapter, input="Hello", max_output_tokens=TOKENS)
    assert answer.output_text
    assert answer.usage
    assert answer.usage.output_tokens == TOKENS
    talk: Any = [*HELLO, *[item.model_dump(exclude_none=True) for item in answer.output], *HELLO]
    again = to.openai.responses.create(
        model=to.model, input=talk, instructions="Be short.", max_output_tokens=TOKENS, store=False
    )
    assert again.output_text


def openai_responses_stream(to: Target) -> None:
    """Stream through OpenAI's newer API."""
    with to.openai.responses.stream(model=to.adapter, input="Hello", max_output_tokens=TOKENS) as stream:
        assert "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text


def openai_responses_of_vllm(to: Target) -> None:
    """Offer a function, get back the request's id, and ask for what is not available."""
    function: Any = {"type": "function", "name": "lookup", "parameters": {"type": "object", "properties": {}}}
    asked: dict[str, Any] = {"model": to.adapter, "input": "Hello", "max_output_tokens": TOKENS}
    named = to.openai.responses.create(**asked, tools=[function], extra_headers={"X-Request-Id": "named-77"})
    assert named.id == "resp_named-77"
    for unavailable in (
        {"previous_response_id": named.id},
        {"background": True},
        {"store": True},
        {"tools": [{"type": "web_search"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ):
        try:
            to.openai.responses.create(**{**asked, **unavailable})
        except openai.BadRequestError:
            continue
        raise AssertionError(f"{unavailable} was answered")


def openai_embeddings(to: Target) -> None:
    """Ask for the vectors of two texts."""
    data = to.openai.embeddings.create(model=to.model, input=["Hello", "Goodbye"]).data
    assert [len(each.embedding) > 1 for each in data] == [True, True]


def anthropic_message(to: Target) -> None:
    """Ask an adapter through Anthropic's API."""
    reply = to.anthropic.messages.create(model=to.adapter, messages=HELLO, max_tokens=TOKENS, system="Be short.")
    assert reply.content[0].type == "text"
    assert reply.usage.output_tokens == TOKENS


def anthropic_stream(to: Target) -> None:
    """Stream through Anthropic's API."""
    with to.anthropic.messages.stream(model=to.model, messages=HELLO, max_tokens=TOKENS) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == TOKENS


def anthropic_count(to: Target) -> None:
    """Count the tokens of a prompt."""
    assert to.anthropic.messages.count_tokens(model=to.model, messages=HELLO).input_tokens > 0


def langchain_openai(to: Target) -> None:
    """Ask and stream through LangChain."""
    model = ChatOpenAI(
        model=to.adapter,
        api_key=SecretStr(to.key),
        base_url=f"{to.url}/v1",
        http_client=to.http,
        max_retries=0,
        max_completion_tokens=TOKENS,
        stream_usage=True,
    )
    assert model.invoke("Hello").content
    assert sum(piece.usage_metadata["output_tokens"] for piece in model.stream("Hello") if piece.usage_metadata) > 0


def langchain_anthropic(to: Target) -> None:
    """Ask through LangChain's client of Anthropic's API."""
    model = ChatAnthropic(model=to.model, api_key=SecretStr(to.key), base_url=to.url, max_tokens=TOKENS, max_retries=0)
    model.__dict__["_client"] = to.anthropic  # it has no argument for the CA, and takes it from SSL_CERT_FILE
    assert model.invoke("Hello").content


def open_webui(to: Target) -> None:
    """Send what Open WebUI sends (backend/open_webui/routers/openai.py and utils/task at 004a45f)."""
    headers = {
        "Authorization": f"Bearer {to.key}",
        "Content-Type": "application/json",
        "X-OpenWebUI-User-Name": "Kim%20Minsu",
        "X-OpenWebUI-User-Id": "0b5c",
        "X-OpenWebUI-User-Email": "kim@example.com",
        "X-OpenWebUI-User-Role": "user",
        "X-OpenWebUI-Chat-Id": "1c2d",
    }
    listed = to.http.get(f"{to.url}/v1/models", headers={"Authorization": f"Bearer {to.key}"}).json()
    assert to.adapter in {model["id"] for model in listed["data"]}

    talk = {"stream": True, "model": to.adapter, "messages": HELLO, "stream_options": {"include_usage": True}}
    title = {"model": to.adapter, "messages": HELLO, "stream": False, "max_completion_tokens": TOKENS}
    part = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
    cached = {**title, "messages": [{"role": "user", "content": [part]}]}
    with to.http.stream(
        "POST", f"{to.url}/v1/chat/completions", headers=headers, json={**talk, "max_tokens": TOKENS}
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert [line for line in reply.iter_lines() if line][-1] == "data: [DONE]"
    for body in (title, cached):  # a connection of kind Azure has the key in two headers
        answer = to.http.post(f"{to.url}/v1/chat/completions", headers={**headers, "api-key": to.key}, json=body)
        assert answer.json()["choices"][0]["message"]["content"], answer.text


def our_client(to: Target) -> None:
    """Ask and stream with LLMClient, as provider gateway and in Anthropic's form."""
    for provider, url in (("gateway", f"{to.url}/v1"), ("claude", to.url)):
        settings = Settings(provider=provider, model=to.adapter, url=url, key=to.key, ca=to.ca)
        client = LLMClient(settings, timeout_s=TIMEOUT_S)
        try:
            answer = client.chat("Hello", max_tokens=TOKENS)
            assert (answer.output_tokens, answer.cost_usd, answer.finish_reason is None) == (TOKENS, None, False)
            stream = client.stream("Hello", max_tokens=TOKENS)
            assert "".join(stream)
            assert stream.answer.output_tokens == TOKENS
        finally:
            client.close()


Call = Callable[[Target], None]
BOTH: tuple[Call, ...] = (
    openai_chat,
    openai_stream,
    openai_completion,
    openai_models,
    openai_responses,
    openai_responses_stream,
    anthropic_message,
    anthropic_stream,
    langchain_openai,
    langchain_anthropic,
    open_webui,
    our_client,
)
"""Calls to either engine."""

VLLM: tuple[Call, ...] = (*BOTH, anthropic_count, openai_responses_of_vllm)
OLLAMA: tuple[Call, ...] = (*BOTH, openai_embeddings)
