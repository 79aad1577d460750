"""Providers with OpenAI's API, on OpenAI's SDK. Sends bodies as relay.py gives them, with the provider's model."""

from collections.abc import Iterator
from typing import Any

import openai

from services.overflow.providers import ERRORS, Answer, ProviderFailedError, Stream, Usage, failure, http_settings
from services.overflow.request import Request
from services.overflow.settings import Model, Provider

PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}

FAILURES = (openai.OpenAIError, *ERRORS)


class OpenAiShaped:
    """A provider with OpenAI's API."""

    def __init__(self, provider: Provider, key: str) -> None:
        self._provider = provider
        self._sdk = openai.OpenAI(base_url=provider.url, api_key=key, **http_settings(provider))

    def can(self, request: Request) -> bool:
        """Return whether the provider has such an API for the request's model."""
        embeddings = self._provider.models[request.alias].embeddings
        if request.endpoint == "embeddings" or embeddings:
            return request.endpoint == "embeddings" and embeddings
        return request.endpoint == "chat" or self._provider.completions

    def whole(self, request: Request, model: Model) -> Answer:
        """Return the answer. Raises ProviderFailedError."""
        try:
            body: Any = self._sdk.post(PATHS[request.endpoint], cast_to=object, body=self._body(request, model))
        except FAILURES as error:
            raise failure(error) from error
        if not isinstance(body, dict):
            raise ProviderFailedError("not an object", free=False)
        usage = Usage()
        usage.read(body.get("usage"), embeddings=request.endpoint == "embeddings")
        return Answer(body | {"model": request.alias}, usage)

    def stream(self, request: Request, model: Model) -> Stream:
        """Return the answer as it comes. Raises ProviderFailedError, also from its chunks."""
        body = self._body(request, model) | {"stream_options": {"include_usage": True}}
        try:
            events = self._sdk.post(
                PATHS[request.endpoint], cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object]
            )
        except FAILURES as error:
            raise failure(error) from error
        stream = Stream(iter(()), events.close)
        stream.chunks = self._chunks(events, request, stream.usage)
        return stream

    def _chunks(self, events: Any, request: Request, usage: Usage) -> Iterator[dict[str, Any]]:
        finished: set[Any] = set()
        try:
            for event in events:
                finished |= {each["index"] for each in event.get("choices", ()) if each.get("finish_reason")}
                # Some say usage with every chunk: before the end it is not the whole.
                if len(finished) == request.choices:
                    usage.read(event.get("usage"))
                if request.usage_asked:
                    yield {**event, "model": request.alias}
                elif event.get("choices"):
                    yield {**{key: value for key, value in event.items() if key != "usage"}, "model": request.alias}
        except FAILURES as error:
            raise ProviderFailedError(failure(error).reason, free=False) from error
        if len(finished) != request.choices:
            raise ProviderFailedError("cut", free=False)

    def _body(self, request: Request, model: Model) -> dict[str, Any]:
        body = {key: value for key, value in request.body.items() if key not in ("max_tokens", "max_completion_tokens")}
        if request.endpoint == "chat":
            body[self._provider.token_limit_field] = request.max_tokens
        elif request.endpoint == "completions":
            body["max_tokens"] = request.max_tokens
        return body | {"model": model.model}
