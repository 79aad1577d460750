"""What all providers have in common: one interface, the HTTP client, and what their errors mean.

Each kind is a module of its own, on the vendor's SDK. A provider is asked once: relay.py decides what comes next.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard

import httpx2

from services.overflow.request import Request
from services.overflow.settings import Model, Provider

CONNECT_S = 10

REFUSALS = {301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 413, 415, 422, 429}
"""Statuses that come before any work. After another one nobody knows what was computed."""

LONGEST_RETRY_DIGITS = 6
UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""Causes of a failure before the request left."""


class ProviderFailedError(Exception):
    """The provider gave no answer. `free`: it certainly computed nothing."""

    def __init__(self, reason: str, *, free: bool, retry_s: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.free = free
        self.retry_s = retry_s


@dataclass
class Usage:
    """The tokens that a provider counted; None while it has not said."""

    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def known(self) -> bool:
        """Whether both are known."""
        return self.input_tokens is not None and self.output_tokens is not None

    def read(self, usage: Any, embeddings: bool = False) -> None:
        """Take over an OpenAI-shaped `usage`, if it is complete."""
        if not isinstance(usage, dict):
            return
        tokens_in, tokens_out = usage.get("prompt_tokens"), 0 if embeddings else usage.get("completion_tokens")
        if not _count(tokens_in) or not _count(tokens_out):
            return
        # Some count reasoning in the total alone.
        total = usage.get("total_tokens")
        unlisted = total - tokens_in if _count(total) else 0
        self.input_tokens, self.output_tokens = tokens_in, max(tokens_out, unlisted)


def _count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@dataclass
class Answer:
    """A whole answer in OpenAI's shape."""

    body: dict[str, Any]
    usage: Usage


@dataclass
class Stream:
    """A stream of chunks in OpenAI's shape. `usage` is known after a whole answer, if the provider reports it."""

    chunks: Iterator[dict[str, Any]]
    close: Any
    usage: Usage = field(default_factory=Usage)


class Client(Protocol):
    """What relay.py asks for."""

    def can(self, request: Request) -> bool:
        """Return whether the provider has such an API for the request's model."""
        ...

    def whole(self, request: Request, model: Model) -> Answer:
        """Return the answer. Raises ProviderFailedError."""
        ...

    def stream(self, request: Request, model: Model) -> Stream:
        """Return the answer as it comes; it has begun. Raises ProviderFailedError, also from its chunks."""
        ...


def http_settings(provider: Provider) -> dict[str, Any]:
    """Return the settings of the HTTP client: no proxy from the environment, no redirect, no second try."""
    verify = ssl.create_default_context(cafile=provider.ca or None)
    timeout = httpx2.Timeout(provider.timeout_s, connect=min(CONNECT_S, provider.timeout_s))
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=16)
    http = httpx2.Client(verify=verify, trust_env=False, follow_redirects=False, timeout=timeout, limits=limits)
    return {"http_client": http, "timeout": timeout, "max_retries": 0}


def failure(error: Exception) -> ProviderFailedError:
    """Return what an exception of an SDK or of its HTTP client means."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        status, seconds = response.status_code, response.headers.get("retry-after", "")
        retry_s = int(seconds) if seconds.isdecimal() and len(seconds) < LONGEST_RETRY_DIGITS else 0
        return ProviderFailedError(f"status {status}", free=status in REFUSALS, retry_s=retry_s)
    cause = error.__cause__ or error
    reason = "timeout" if isinstance(cause, httpx2.TimeoutException) else "connection"
    return ProviderFailedError(reason, free=isinstance(cause, UNSENT))


ERRORS = (httpx2.HTTPError, ValueError, TypeError, KeyError, AttributeError)
"""What the HTTP client raises, and what an answer causes that is not what it should be. Each SDK adds its own."""
