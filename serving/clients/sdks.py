"""The SDKs of OpenAI and Anthropic behind one shape: a request in, an answer or the pieces of one out.

The SDKs load when a client is made, which takes a second. Ollama is used through its OpenAI API: one code path for
four providers, and what goes through the gateway has the same fields.
"""

import email.utils
import importlib
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from serving.clients.answer import Answer, BrokenOffError, LLMError, LLMSettingsError
from serving.clients.settings import OUTSIDE, Settings

CONNECT_S = 10.0
CLAUDE_MAX_TOKENS = 4096
"""Claude's API requires max_tokens; used if the caller gives none."""
RETRIED = (408, 409, 425, 429)
SERVER_ERRORS = 500
SHOWN_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, the same for every provider."""

    messages: tuple[dict[str, Any], ...]
    system: str | None
    max_tokens: int | None
    temperature: float | None
    request_id: str

    def options(self, name: str) -> dict[str, Any]:
        """Return the parameters that were given; `name` is what the API calls max_tokens."""
        given = {name: self.max_tokens, "temperature": self.temperature}
        return {key: value for key, value in given.items() if value is not None}

    def headers(self, provider: str) -> dict[str, str]:
        """Return the headers with the request's id.

        X-Client-Request-Id is what OpenAI logs. Neither OpenAI nor Anthropic promises to honour Idempotency-Key.
        """
        if provider not in OUTSIDE:
            return {"X-Request-Id": self.request_id}
        return {"X-Client-Request-Id": self.request_id, "Idempotency-Key": self.request_id}


class Shape(ABC):
    """One SDK: what the APIs have in common. What is an API's own is in the abstract methods."""

    stream_options: Mapping[str, Any] = {"stream": True}

    def __init__(self, settings: Settings, sdk: Any, errors: type[Exception]) -> None:
        self.settings, self.sdk, self.errors = settings, sdk, errors

    def chat(self, asked: Asked) -> Answer:
        """Return the answer. Raises LLMError."""
        with _translated(self):
            raw = self._create(asked)
            reply = raw.parse()
        return self._whole(reply, self._nothing_yet(asked, raw.headers))

    def stream(self, asked: Asked) -> Generator[str, None, Answer]:
        """Return the pieces of the answer once it has begun; the generator returns the rest. Raises LLMError."""
        with _translated(self):
            raw = self._create(asked, **self.stream_options)
            events = raw.parse()
        return self._pieces(events, self._nothing_yet(asked, raw.headers))

    def _pieces(self, events: Any, answer: Answer) -> Generator[str, None, Answer]:
        pieces: list[str] = []
        with _translated(self, begun=pieces), events:
            for event in events:
                answer, text = self._event(event, answer)
                if text:
                    pieces.append(text)
                    yield text
        answer = replace(answer, text="".join(pieces))
        if answer.finish_reason is None:  # then the rest of it is missing
            what = f"{self.settings.provider}: the answer broke off (the stream ended without a finish reason)"
            raise BrokenOffError(what, answer.text)
        return answer

    def _nothing_yet(self, asked: Asked, headers: Mapping[str, str]) -> Answer:
        """Return an answer without text. A gateway's headers say what is not the model's own."""
        return Answer(
            text="",
            model=self.settings.model,
            request_id=asked.request_id,
            served_by=headers.get("x-served-by"),
            degraded=headers.get("x-degraded"),
        )

    @abstractmethod
    def _create(self, asked: Asked, **options: Any) -> Any:
        """Send a request; return the raw response of the SDK."""

    @abstractmethod
    def _whole(self, reply: Any, answer: Answer) -> Answer:
        """Return `answer` with what the whole `reply` says."""

    @abstractmethod
    def _event(self, event: Any, answer: Answer) -> tuple[Answer, str]:
        """Return `answer` with what an event of a stream says, and the event's text."""


class OpenAIShape(Shape):
    """OpenAI's chat completions, as OpenAI, Ollama, vLLM and the gateway have them."""

    stream_options: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        openai = _installed("openai")
        options = _connection(settings, timeout_s, openai.DefaultHttpxClient)
        # The SDK insists on a key, also where the engine has none.
        sdk = openai.OpenAI(api_key=settings.key or "none", base_url=settings.url, max_retries=0, **options)
        super().__init__(settings, sdk, openai.APIError)
        self.max_tokens = "max_completion_tokens" if settings.provider == "openai" else "max_tokens"

    def _create(self, asked: Asked, **options: Any) -> Any:
        system = [{"role": "system", "content": asked.system}] if asked.system else []
        create: Any = self.sdk.chat.completions.with_raw_response.create
        return create(
            model=self.settings.model,
            messages=[*system, *asked.messages],
            extra_headers=asked.headers(self.settings.provider),
            **asked.options(self.max_tokens),
            **options,
        )

    def _whole(self, reply: Any, answer: Answer) -> Answer:
        choice = reply.choices[0] if reply.choices else None
        if choice is None:
            raise LLMError(f"{self.settings.provider}: the answer has no choices")
        text, model = choice.message.content or "", reply.model or answer.model
        return _counted(replace(answer, text=text, model=model, finish_reason=choice.finish_reason), reply.usage)

    def _event(self, event: Any, answer: Answer) -> tuple[Answer, str]:
        answer = _counted(replace(answer, model=event.model or answer.model), event.usage)
        choice = event.choices[0] if event.choices else None
        if choice is None:
            return answer, ""
        return replace(answer, finish_reason=choice.finish_reason or answer.finish_reason), choice.delta.content or ""


class ClaudeShape(Shape):
    """Anthropic's messages."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        anthropic = _installed("anthropic")
        options = _connection(settings, timeout_s, anthropic.DefaultHttpxClient)
        sdk = anthropic.Anthropic(api_key=settings.key, base_url=settings.url, max_retries=0, **options)
        super().__init__(settings, sdk, anthropic.APIError)

    def _create(self, asked: Asked, **options: Any) -> Any:
        given = asked.options("max_tokens")
        # The SDK no longer knows `temperature`; models that still take it get it, and others say that they do not.
        extra = {"extra_body": {"temperature": given.pop("temperature")}} if "temperature" in given else {}
        create: Any = self.sdk.messages.with_raw_response.create
        return create(
            model=self.settings.model,
            messages=list(asked.messages),
            max_tokens=given.pop("max_tokens", CLAUDE_MAX_TOKENS),
            extra_headers=asked.headers(self.settings.provider),
            **({"system": asked.system} if asked.system else {}),
            **extra,
            **options,
        )

    def _whole(self, reply: Any, answer: Answer) -> Answer:
        text = "".join(block.text for block in reply.content if block.type == "text")
        model = reply.model or answer.model
        return _counted_by_claude(replace(answer, text=text, model=model, finish_reason=reply.stop_reason), reply.usage)

    def _event(self, event: Any, answer: Answer) -> tuple[Answer, str]:
        if event.type == "message_start":
            return _counted_by_claude(replace(answer, model=event.message.model), event.message.usage), ""
        if event.type == "message_delta":
            tokens = event.usage.output_tokens
            return replace(answer, finish_reason=event.delta.stop_reason, output_tokens=tokens), ""
        is_text = event.type == "content_block_delta" and event.delta.type == "text_delta"
        return answer, event.delta.text if is_text else ""


def _installed(name: str) -> Any:
    """Return an SDK. Raises LLMSettingsError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise LLMSettingsError(f"the package {error.name} is not installed", hint=f"pip install {name}") from None


def _connection(settings: Settings, timeout_s: float, client: Callable[..., Any]) -> dict[str, Any]:
    """Return the SDK's options for time-outs, proxies and the CA. Requests to our own hosts never go to a proxy."""
    import httpx2

    timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
    if settings.provider in OUTSIDE:
        return {"timeout": timeout, "http_client": client(timeout=timeout)}
    try:
        tls = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    except OSError as error:
        what = f"contains no CA ({error.strerror})"
        raise LLMSettingsError(what, where=str(settings.ca), hint="name the PEM file of the CA") from None
    return {"timeout": timeout, "http_client": client(timeout=timeout, verify=tls, trust_env=False)}


@contextmanager
def _translated(shape: Shape, *, begun: list[str] | None = None) -> Iterator[None]:
    """Raise LLMError in place of the SDK's errors; BrokenOffError once an answer has `begun`, with its pieces."""
    import httpx2

    where = f"{shape.settings.provider} at {shape.settings.url}"
    try:
        yield
    except shape.errors as error:
        response, cause = getattr(error, "response", None), error.__cause__ or error
        if begun is not None:
            raise _broken_off(where, cause, begun) from error
        if response is not None:
            raise _refused(where, error, response) from error
        # A request that timed out may still be computed; sending it again would double the load.
        unsent = isinstance(cause, httpx2.ConnectTimeout | httpx2.PoolTimeout)
        retry = unsent or not isinstance(cause, httpx2.TimeoutException)
        raise LLMError(f"{where}: no answer ({_line(cause)})", retry=retry) from error
    except (httpx2.HTTPError, ValueError) as error:  # the SDKs leave these as they are while they read a stream
        if begun is not None:
            raise _broken_off(where, error, begun) from error
        raise LLMError(f"{where}: no answer ({_line(error)})") from error


def _broken_off(where: str, cause: object, pieces: list[str]) -> BrokenOffError:
    return BrokenOffError(f"{where}: the answer broke off ({_line(cause)})", "".join(pieces))


def _refused(where: str, error: Any, response: Any) -> LLMError:
    """Return the error for an answer with an error's status."""
    body = error.body if isinstance(error.body, Mapping) else {}
    detail = body.get("error", body)  # Anthropic's SDK keeps the whole body, OpenAI's the error in it
    detail = detail if isinstance(detail, Mapping) else {}
    code = detail.get("code") or detail.get("type")
    status = response.status_code
    wait_s = _retry_after_s(response.headers)
    hint = "" if wait_s is None else f"; retry in {wait_s:.0f} s"
    found = LLMError(
        f"{where}: HTTP {status} {code or ''}: {_line(detail.get('message') or error)}{hint}".replace(" :", ":"),
        status=status,
        code=None if code is None else str(code),
        retry=(status in RETRIED or status >= SERVER_ERRORS) and response.headers.get("x-should-retry") != "false",
    )
    found.retry_after_s = wait_s
    return found


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in Retry-After, which may also be a date; None if there are none."""
    said = headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _line(said: object) -> str:
    """Return the beginning of a text as one line."""
    text = " ".join(str(said).split()) or type(said).__name__
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _counted(answer: Answer, usage: Any) -> Answer:
    """Return the answer with the tokens in OpenAI's usage, if there is one."""
    if usage is None:
        return answer
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None) or 0
    return replace(
        answer, input_tokens=usage.prompt_tokens, cached_tokens=cached, output_tokens=usage.completion_tokens
    )


def _counted_by_claude(answer: Answer, usage: Any) -> Answer:
    """Return the answer with the tokens in Anthropic's usage, which counts cached ones apart."""
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return replace(
        answer,
        input_tokens=usage.input_tokens + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens,
    )
