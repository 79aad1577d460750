"""Anthropic's Messages API, for chats, on Anthropic's SDK."""

from collections.abc import Iterator
from typing import Any

import anthropic

from services.overflow import anthropic_shape
from services.overflow.providers import ERRORS, Answer, ProviderFailedError, Stream, Usage, failure, http_settings
from services.overflow.request import Request
from services.overflow.settings import Model, Provider

PATH = "/v1/messages"

FAILURES = (anthropic.AnthropicError, *ERRORS)


class Anthropic:
    """Anthropic as a provider."""

    def __init__(self, provider: Provider, key: str) -> None:
        self._sdk = anthropic.Anthropic(base_url=provider.url, api_key=key, **http_settings(provider))

    def can(self, request: Request) -> bool:
        """Return whether the provider has such an API for the request's model."""
        return request.endpoint == "chat" and anthropic_shape.can(request.body)

    def whole(self, request: Request, model: Model) -> Answer:
        """Return the answer. Raises ProviderFailedError."""
        asked = anthropic_shape.request(request.body, model.model, request.max_tokens)
        try:
            body: Any = self._sdk.post(PATH, cast_to=object, body=asked)
            usage = Usage(*anthropic_shape.tokens(body["usage"]))
            return Answer(anthropic_shape.answer(body, request.alias), usage)
        except FAILURES as error:
            raise failure(error) from error

    def stream(self, request: Request, model: Model) -> Stream:
        """Return the answer as it comes. Raises ProviderFailedError, also from its chunks."""
        asked = anthropic_shape.request(request.body, model.model, request.max_tokens) | {"stream": True}
        try:
            events = self._sdk.post(PATH, cast_to=object, body=asked, stream=True, stream_cls=anthropic.Stream[object])
        except FAILURES as error:
            raise failure(error) from error
        stream = Stream(iter(()), events.close)
        stream.chunks = self._chunks(events, request, stream.usage)
        return stream

    def _chunks(self, events: Any, request: Request, usage: Usage) -> Iterator[dict[str, Any]]:
        shape = anthropic_shape.StreamShape(request.alias)
        try:
            for event in events:
                yield from shape.chunks(event)
        except FAILURES as error:
            raise ProviderFailedError(failure(error).reason, free=False) from error
        if not shape.finished:
            raise ProviderFailedError("cut", free=False)
        usage.input_tokens, usage.output_tokens = shape.input_tokens, shape.output_tokens
        if request.usage_asked and usage.known:
            yield shape.usage_chunk()
