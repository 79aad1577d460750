"""Asks the providers in order: reserve, send, settle. A stream that has begun is never sent to another one.

Every way out of `send` that does not know the cost leaves the reservation as it is.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.overflow.ledger import CannotReserveError, Ledger
from services.overflow.metrics import Metrics
from services.overflow.money import cost
from services.overflow.providers import Client, ProviderFailedError, Usage
from services.overflow.request import Request
from services.overflow.settings import Model, Provider, Settings

RETRY_S = 10
"""Seconds in Retry-After if no better number is known."""

FAILED = "overflow_failed"
"""Code of the answer if a provider got the request and did not answer it."""

LIMITS = {"requests_per_minute", "tokens_per_minute"}
CAPS = {"day_cap", "month_cap", "bound_exceeded"}


class NoProviderError(Exception):
    """No provider answered: status, code and text of the answer to the client."""

    def __init__(self, status: int, code: str, message: str, retry_s: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_s = retry_s


@dataclass
class Served:
    """An answer that has begun: a whole body, or chunks."""

    provider: str
    body: dict[str, Any] | None
    chunks: Iterator[dict[str, Any]]
    close: Callable[[], None]


@dataclass
class Relay:
    """The providers with their clients, the ledger and the metrics."""

    settings: Settings
    clients: Mapping[str, Client]
    ledger: Ledger
    metrics: Metrics
    note: Callable[[str, str, str], None]
    """Takes provider, client and what happened, for the log."""

    def send(self, request: Request) -> Served:
        """Return the first provider's answer. Raises NoProviderError."""
        refused: list[CannotReserveError] = []
        failed: list[ProviderFailedError] = []
        for provider in self.settings.providers:
            model, client = provider.models.get(request.alias), self.clients[provider.name]
            if model is None or not client.can(request):
                continue
            try:
                key = self._reserve(provider, model, request)
            except CannotReserveError as error:
                self._outcome(provider, request, error.reason)
                refused.append(error)
                continue
            try:
                return self._ask(provider, model, client, request, key)
            except ProviderFailedError as error:
                if error.free:
                    self._settle(provider, model, key, Usage(0, 0))
                self._failed(key, provider, error)
                self._outcome(provider, request, f"failed: {error.reason}")
                failed.append(error)
        raise _no_provider(refused, failed)

    def _reserve(self, provider: Provider, model: Model, request: Request) -> int:
        worst = request.worst(provider, model)
        try:
            return self.ledger.reserve(provider, self.settings.cap, request.client, request.alias, worst)
        except (sqlite3.Error, OSError, OverflowError) as error:  # a full disk, most of the time
            self.metrics.count("llm_overflow_ledger_errors_total")
            raise CannotReserveError("ledger", RETRY_S) from error

    def _ask(self, provider: Provider, model: Model, client: Client, request: Request, key: int) -> Served:
        """Return the answer; a stream is returned after its first chunk."""
        if not request.stream:
            answer = client.whole(request, model)
            self._settle(provider, model, key, answer.usage)
            self.metrics.worked(provider.name)
            self._outcome(provider, request, "served")
            return Served(provider.name, answer.body, iter(()), lambda: None)
        stream = client.stream(request, model)
        try:
            first = next(stream.chunks)
        except StopIteration:
            stream.close()
            raise ProviderFailedError("empty stream", free=False) from None
        except ProviderFailedError:
            stream.close()
            raise

        def chunks() -> Iterator[dict[str, Any]]:
            outcome = "cut by the client"
            try:
                yield first
                yield from stream.chunks
                outcome = "served"
                self.metrics.worked(provider.name)
            except ProviderFailedError as error:
                self._failed(key, provider, error)
                outcome = f"cut: {error.reason}"
                raise
            finally:
                stream.close()
                self._settle(provider, model, key, stream.usage)
                self._outcome(provider, request, outcome)

        return Served(provider.name, None, chunks(), stream.close)

    def _settle(self, provider: Provider, model: Model, key: int, usage: Usage) -> None:
        """Write the real cost, if it is known. On an error the reservation stays."""
        if usage.input_tokens is None or usage.output_tokens is None:
            self.metrics.count("llm_overflow_unsettled_total", provider=provider.name)
            return
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        nano = cost(tokens_in, model.price_in, tokens_out, model.price_out)
        try:
            exceeded = self.ledger.settle(key, nano, tokens_in, tokens_out)
        except (sqlite3.Error, OSError, OverflowError):
            self.metrics.count("llm_overflow_ledger_errors_total")
            return
        if exceeded:
            self.metrics.count("llm_overflow_bound_exceeded_total", provider=provider.name)

    def _failed(self, key: int, provider: Provider, error: ProviderFailedError) -> None:
        """Count a failed try, in the metrics and in the ledger."""
        self.metrics.failed(provider.name, error.reason)
        try:
            self.ledger.failed(key)
        except (sqlite3.Error, OSError):
            self.metrics.count("llm_overflow_ledger_errors_total")

    def _outcome(self, provider: Provider, request: Request, outcome: str) -> None:
        word = outcome.partition(":")[0].replace(" ", "_")
        self.metrics.count("llm_overflow_requests_total", provider=provider.name, outcome=word)
        self.note(provider.name, request.client, outcome)


def _no_provider(refused: list[CannotReserveError], failed: list[ProviderFailedError]) -> NoProviderError:
    """Return the answer to a client whose request no provider took."""
    if failed and any(error.reason != "status 429" for error in failed):
        retry_s = max(min(error.retry_s or RETRY_S for error in failed), 1)
        return NoProviderError(503, FAILED, "No provider answered.", retry_s)
    if not refused and not failed:
        return NoProviderError(503, "overflow_unavailable", "No provider serves this request.", RETRY_S)
    retry_s = min([error.retry_s for error in refused] + [error.retry_s or RETRY_S for error in failed])
    reasons = {error.reason for error in refused} | {"requests_per_minute" for _ in failed}
    if reasons <= CAPS:
        return NoProviderError(429, "overflow_cap_reached", "The cap on spending is reached.", retry_s)
    if reasons <= CAPS | LIMITS:
        return NoProviderError(429, "overflow_rate_limit", "The limit of requests to providers is reached.", retry_s)
    return NoProviderError(503, "overflow_unavailable", "The record of spending cannot be written.", retry_s)
