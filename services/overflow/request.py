"""A request that may leave: what of it is sent, and an upper bound of what it may cost.

Only fields whose cost is bounded are sent. A request with other fields, or with images or sound, stays here.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.overflow.ledger import Worst
from services.overflow.money import cost
from services.overflow.settings import Model, Provider

Endpoint = Literal["chat", "completions", "embeddings"]

ENDPOINTS: Mapping[str, Endpoint] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
}

_LIMITS = {"max_tokens", "max_completion_tokens"}
_SAMPLING = {"temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias", "logprobs"}
_COMMON = {"model", "stream", "stream_options", "n", *_LIMITS, *_SAMPLING}

SENT: Mapping[Endpoint, frozenset[str]] = {
    "chat": frozenset(
        {*_COMMON, "messages", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "response_format"}
    ),
    "completions": frozenset({*_COMMON, "prompt", "suffix", "echo", "best_of"}),
    "embeddings": frozenset({"model", "input", "encoding_format", "dimensions"}),
}
"""Fields that are sent, by endpoint."""

DROPPED = frozenset(
    {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier", "priority", "request_id"}
)
"""Fields that are not sent. `service_tier` would change the price; the others tell who asks or do nothing there."""

FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")

MOST_CHOICES = 16


class NotPortableError(Exception):
    """A request that no provider gets, with the reason."""


@dataclass(frozen=True)
class Request:
    """A request from the gateway."""

    endpoint: Endpoint
    alias: str
    client: str
    body: dict[str, Any]
    """What is sent; `model` and the limit of tokens are still the client's."""
    prompt_bytes: int
    """An upper bound of the prompt's tokens, without what a provider adds."""
    max_tokens: int
    """The most tokens of one answer."""
    answers: int
    """How many answers the provider computes."""
    choices: int
    """How many of them it sends."""
    stream: bool
    usage_asked: bool
    """The client wants usage at the end of the stream."""

    def worst(self, provider: Provider, model: Model) -> Worst:
        """Return the most tokens and the highest cost at `provider`."""
        prompts = _prompts(self.body)
        tokens_in = self.prompt_bytes + provider.added_tokens * prompts
        tokens_out = self.max_tokens * self.answers
        return Worst(tokens_in + tokens_out, cost(tokens_in, model.price_in, tokens_out, model.price_out))


def parse_request(path: str, client: str, text: bytes, default_max_tokens: int) -> Request:
    """Return the request in `text`. Raises NotPortableError for no bound of its cost, or a field that is not sent."""
    endpoint = ENDPOINTS[path]
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NotPortableError("the body is not JSON") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise NotPortableError("the body has no model")
    unknown = sorted(set(body) - SENT[endpoint] - DROPPED)
    if unknown:  # their names are the client's text, which is not logged
        raise NotPortableError(f"{len(unknown)} fields are not sent to providers")
    sent = {key: value for key, value in body.items() if key in SENT[endpoint] and value is not None}
    for problem in _not_text(endpoint, sent):
        raise NotPortableError(problem)
    stream = _flag(sent, "stream")
    limits = [_whole(sent, key, 1) for key in sorted(_LIMITS & set(sent))]
    # `n` and `best_of` are for each prompt.
    chosen = _whole(sent, "n", 1, MOST_CHOICES)
    computed = max(chosen, _whole(sent, "best_of", 1, MOST_CHOICES))
    options = sent.get("stream_options", {})
    if not isinstance(options, dict) or set(options) - {"include_usage"}:
        raise NotPortableError("stream_options has other keys than include_usage")
    return Request(
        endpoint=endpoint,
        alias=sent["model"],
        client=client,
        body=sent,
        prompt_bytes=most_tokens(sent),
        max_tokens=0 if endpoint == "embeddings" else max(limits, default=default_max_tokens),
        answers=computed * _prompts(sent),
        choices=chosen * _prompts(sent),
        stream=stream and endpoint != "embeddings",
        usage_asked=bool(options.get("include_usage")),
    )


def most_tokens(body: Mapping[str, Any]) -> int:
    """Return an upper bound of the tokens of all text in `body`.

    Tokenizers cut text into pieces of at least one byte of UTF-8. Some bring it into another Unicode form first, which
    may be longer (U+FDFA: 3 bytes become 33), so the longest form counts. The JSON around each text has more bytes than
    a chat template has tokens for it.
    """
    text = json.dumps(body, ensure_ascii=False)
    try:
        return max(len(form.encode()) for form in (text, *(unicodedata.normalize(name, text) for name in FORMS)))
    except UnicodeEncodeError as error:
        raise NotPortableError("the body has half of a surrogate pair") from error


def _not_text(endpoint: Endpoint, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not text, or has no form that a bound is known for."""
    if endpoint == "chat":
        yield from _messages(body.get("messages"))
        tools = body.get("tools", [])
        if not isinstance(tools, list) or any(
            not isinstance(each, dict) or each.get("type") != "function" for each in tools
        ):
            yield "a tool is not a function"
        logprobs = body.get("logprobs", False)
        if not isinstance(logprobs, bool):
            yield "logprobs is not true or false"
    else:
        key = "prompt" if endpoint == "completions" else "input"
        value = body.get(key)
        if not (
            isinstance(value, str)
            or (isinstance(value, list) and value and all(isinstance(each, str) for each in value))
        ):
            yield f"{key} is not text or a list of texts"


def _messages(messages: Any) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "messages is not a list"
        return
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            yield "a message has no role"
            return
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        if not isinstance(content, str | list | None):
            yield "a message's content is not text"
        if any(not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text" for part in parts):
            yield "a message has a part that is not text"
        if any(not isinstance(part["text"], str) for part in parts if isinstance(part, dict) and "text" in part):
            yield "a message has a part that is not text"


def _prompts(body: Mapping[str, Any]) -> int:
    """Return how many prompts `body` has."""
    value = body.get("prompt", body.get("input"))
    return len(value) if isinstance(value, list) else 1


def _whole(body: Mapping[str, Any], key: str, default: int, most: int = 10_000_000) -> int:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise NotPortableError(f"{key} is not a whole number from 1 to {most}")
    return value


def _flag(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise NotPortableError(f"{key} is not true or false")
    return value


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
