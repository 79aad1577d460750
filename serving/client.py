"""One client for Claude, OpenAI, Ollama, vLLM and the gateway of a stack, on the official SDKs.

    from serving.client import LLMClient
    print(LLMClient.from_env().chat("What does the contract say?").text)

Environment, by LLM_PROVIDER (docs/clients.md explains each variable):

    claude   CLAUDE_API_KEY, CLAUDE_MODEL                           CLAUDE_BASE_URL
    openai   OPENAI_API_KEY, OPENAI_MODEL                           OPENAI_BASE_URL
    ollama   OLLAMA_MODEL                                           OLLAMA_HOST, OLLAMA_API_KEY
    vllm     VLLM_MODEL                                             VLLM_HOST, VLLM_API_KEY
    gateway  GATEWAY_STACK, or GATEWAY_URL with GATEWAY_API_KEY     GATEWAY_MODEL, GATEWAY_CLIENT, GATEWAY_CA

An application may copy this file and serving/clients/. They need the package `openai`, and `anthropic` for Claude.
"""

import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from serving.clients.answer import Answer, BrokenOffError, LLMError, LLMSettingsError
from serving.clients.retries import Retries
from serving.clients.sdks import Asked, ClaudeShape, OpenAIShape
from serving.clients.settings import OUTSIDE, Settings

__all__ = ["Answer", "BrokenOffError", "LLMClient", "LLMError", "LLMSettingsError", "Retries", "Settings", "Stream"]

Message = Mapping[str, Any]
"""{"role": "user" | "assistant" | "system", "content": "text"}"""
CostOf = Callable[[str, str, int, int, int], float | None]
"""USD for provider, model, input tokens, how many of them came from the provider's cache, and output tokens; None if
the price is not known."""


class Stream:
    """A streamed answer: iterate over the pieces of its text; `answer` has the rest after the last one."""

    def __init__(self, events: Generator[str, None, Answer], done: Callable[[Answer], Answer]) -> None:
        self._events, self._done = events, done
        self._answer: Answer | None = None

    def __iter__(self) -> Iterator[str]:
        self._answer = self._done((yield from self._events))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. The engine then stops computing the rest."""
        self._events.close()

    @property
    def answer(self) -> Answer:
        """The whole answer. Raises LLMError before the last piece."""
        if self._answer is None:
            raise LLMError("the stream has not ended; read all its pieces first")
        return self._answer


class LLMClient:
    """Chat with one model of one provider. Several threads may use it."""

    def __init__(
        self,
        settings: Settings,
        *,
        system: str | Path | None = None,
        timeout_s: float = 300.0,
        retries: Retries | None = None,
        mask: Callable[[str], str] | None = None,
        cost_of: CostOf | None = None,
    ) -> None:
        """`system` is the system prompt, or the path of a file with it. `timeout_s` is the longest silence.

        `mask` changes each text that goes to Claude or OpenAI, e.g. serving.masking.mask. `cost_of` gives the price;
        without it, the price book of this repository is used if it is installed.
        """
        self.settings = settings
        self._system = _text_of(system) if isinstance(system, Path) else system
        self._retries = retries or Retries()
        self._mask = mask if mask and settings.provider in OUTSIDE else str
        self._cost_of = cost_of or _price_book()
        self._shape = (ClaudeShape if settings.provider == "claude" else OpenAIShape)(settings, timeout_s)

    @classmethod
    def from_env(cls, provider: str | None = None, *, stack: str | None = None, **options: Any) -> Self:
        """Return a client with the settings of the environment; `options` as in the constructor."""
        return cls(Settings.from_env(provider, stack=stack), **options)

    def chat(
        self,
        prompt: str | Sequence[Message],
        *,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Return the answer to a question or to a whole conversation. Raises LLMError."""
        began = time.monotonic()
        asked = self._asked(prompt, system, max_tokens, temperature, request_id)
        return self._priced(self._tried(lambda: self._shape.chat(asked)), began)

    def stream(
        self,
        prompt: str | Sequence[Message],
        *,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        request_id: str | None = None,
    ) -> Stream:
        """Return the answer as a stream. Raises LLMError, and BrokenOffError while the stream is read.

        A stream that has begun is never asked for again: its reader has seen half of the answer.
        """
        began = time.monotonic()
        asked = self._asked(prompt, system, max_tokens, temperature, request_id)
        return Stream(self._tried(lambda: self._shape.stream(asked)), lambda answer: self._priced(answer, began))

    def close(self) -> None:
        """Close the connections."""
        self._shape.sdk.close()

    def _asked(
        self,
        prompt: str | Sequence[Message],
        system: str | None,
        max_tokens: int | None,
        temperature: float | None,
        request_id: str | None,
    ) -> Asked:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        first = system or self._system
        return Asked(
            messages=tuple(self._masked(each) for each in messages),
            system=self._masked(first) if first else None,
            max_tokens=max_tokens,
            temperature=temperature,
            request_id=request_id or f"req-{uuid.uuid4()}",
        )

    def _masked(self, content: Any) -> Any:
        """Return the text, or the message or a part of it, with each text masked: also in the calls of tools."""
        if isinstance(content, str):
            return self._mask(content)
        if isinstance(content, Mapping):
            return {name: value if name in ("role", "type") else self._masked(value) for name, value in content.items()}
        return [self._masked(part) for part in content] if isinstance(content, Sequence) else content

    def _tried(self, send: Callable[[], Any]) -> Any:
        """Return what `send` returns; after an error that may pass, wait and send again."""
        retried = 0
        while True:
            try:
                return send()
            except LLMError as error:
                wait_s = self._retries.wait_s(error, retried)
                if wait_s is None:
                    raise
            self._retries.sleep(wait_s)
            retried += 1

    def _priced(self, answer: Answer, began: float) -> Answer:
        """Return the answer with its cost and duration."""
        cost, asked = None, self.settings  # what was asked for is billed; the answer names a dated version of it
        given, taken = answer.input_tokens, answer.output_tokens
        if self._cost_of and given is not None and taken is not None and not answer.cache_write_tokens:
            cost = self._cost_of(asked.provider, asked.model, given, answer.cached_tokens, taken)
        return replace(answer, cost_usd=cost, seconds=time.monotonic() - began)


def _text_of(path: Path) -> str:
    """Return the text of a file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LLMSettingsError(f"cannot be read ({reason})", where=str(path), hint="name a text file") from None


def _price_book() -> CostOf | None:
    """Return the price book of this repository; None where this file was copied without it."""
    try:
        from catalog.prices import token_usd
    except ImportError:
        return None
    return token_usd
