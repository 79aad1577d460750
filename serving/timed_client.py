"""A client of OpenAI's API that measures times, for the smoke test and benchmarks.

It ignores proxies in the environment and never prints the API key.
"""

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import SecretStr

from core.errors import CheckError, ConfigError
from core.reading.strict_json import parse_json

CONNECT_S = 10
ANSWER_S = 300
"""Longest silence of the endpoint. The first answer of a CPU host after its start is slow."""

DONE = "[DONE]"
SHOWN_CHARS = 200

Part = TypeVar("Part")


class ApiError(CheckError):
    """The endpoint answered with an error, or not in the form of OpenAI's API."""

    def __init__(self, what: str, *, status: int, code: str | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a model."""

    text: str
    tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StreamedAnswer(Answer):
    """A streamed answer of a model."""

    first_token_s: float
    pieces: int

    @property
    def tokens_per_s(self) -> float:
        """Speed after the first token; 0 if the answer came in one piece, which shows no speed."""
        rest_s = self.seconds - self.first_token_s
        return (self.tokens - 1) / rest_s if self.pieces > 1 and rest_s > 0 else 0.0


class Client:
    """A connection pool to one URL with one key. Several threads may use it."""

    def __init__(self, url: str, *, key: SecretStr | None, ca: Path | None, timeout_s: float = ANSWER_S) -> None:
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            verify=tls_context(ca),
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Return the response, whatever its status. Raises CheckError if there is none."""
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object that answers a POST. Raises ApiError with the endpoint's words if it is an error."""
        return _json(self.ask("POST", path, body))

    def models(self) -> list[str]:
        """Return the names of the models, in the endpoint's order."""
        listed = _json(self.ask("GET", "/v1/models"))
        return [str(model["id"]) for model in _part(listed, "data", list)]

    def chat(self, model: str, prompt: str, *, max_tokens: int) -> Answer:
        """Return the whole answer of `model` to one message, at temperature 0."""
        return self._whole("/v1/chat/completions", _chat(model, prompt, max_tokens))

    def complete(self, model: str, prompt: str, *, max_tokens: int) -> Answer:
        """Return the completion of `prompt` by `model`, at temperature 0."""
        return self._whole("/v1/completions", _completion(model, prompt, max_tokens))

    def stream_chat(self, model: str, prompt: str, *, max_tokens: int) -> StreamedAnswer:
        """Return the answer of `chat`, streamed and timed. Raises ApiError if the stream is cut off."""
        began = time.perf_counter()
        first_s: float | None = None
        pieces: list[str] = []
        tokens = 0
        for event in self._events("/v1/chat/completions", _chat(model, prompt, max_tokens)):
            for choice in _part(event, "choices", list):
                piece = choice.get("delta", {}).get("content")
                if piece:
                    first_s = first_s if first_s is not None else time.perf_counter() - began
                    pieces.append(piece)
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
        seconds = time.perf_counter() - began
        return StreamedAnswer(
            text="".join(pieces),
            tokens=tokens or len(pieces),
            seconds=seconds,
            first_token_s=seconds if first_s is None else first_s,
            pieces=len(pieces),
        )

    def _whole(self, path: str, body: dict[str, Any]) -> Answer:
        began = time.perf_counter()
        answer = _json(self.ask("POST", path, body))
        seconds = time.perf_counter() - began
        choices = _part(answer, "choices", list)
        if not choices:
            raise ApiError("the answer has no choices", status=httpx.codes.OK)
        text = choices[0].get("message", choices[0]).get("content", choices[0].get("text"))
        tokens = _part(answer, "usage", dict).get("completion_tokens", 0)
        return Answer(text=text or "", tokens=tokens, seconds=seconds)

    def _events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream as they arrive."""
        wanted = body | {"stream": True, "stream_options": {"include_usage": True}}
        try:
            with self._http.stream("POST", path, json=wanted) as response:
                if response.is_error:
                    response.read()
                    _json(response)
                for line in response.iter_lines():
                    data = line.removeprefix("data:").strip()
                    if data == DONE:
                        return
                    if line.startswith("data:"):
                        yield _parsed(data, response.status_code)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error
        raise ApiError(f"the stream ended without {DONE}", status=httpx.codes.OK)

    def _unreached(self, error: httpx.HTTPError) -> CheckError:
        return CheckError(f"no answer ({str(error) or type(error).__name__})", where=self._url)


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Return a context that checks the server's certificate against `ca`, or against the system's CAs.

    Raises ConfigError if the file contains no CA.
    """
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"contains no CA ({error.strerror})", where=str(ca), hint="run `provision` again") from error


def error_code(response: httpx.Response) -> str | None:
    """Return the code of an error in OpenAI's form; None if it has another form."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(code)


def _chat(model: str, prompt: str, max_tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
    }


def _completion(model: str, prompt: str, max_tokens: int) -> dict[str, Any]:
    return {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}


def _json(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object in a response. Raises ApiError with the endpoint's words if it is an error."""
    if response.is_error:
        code = error_code(response)
        said = response.text[:SHOWN_CHARS].strip()
        raise ApiError(f"HTTP {response.status_code} {code or said}", status=response.status_code, code=code)
    return _parsed(response.text, response.status_code)


def _parsed(text: str, status: int) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiError(f"no JSON object: {text[:SHOWN_CHARS]!r}", status=status)
    if "error" in value:  # engines report a failure in the middle of a stream like this
        raise ApiError(f"an error in the answer: {str(value['error'])[:SHOWN_CHARS]}", status=status)
    return value


def _part(answer: dict[str, Any], name: str, kind: type[Part]) -> Part:
    """Return `answer[name]`. Raises ApiError if it is missing or has another type."""
    part = answer.get(name)
    if not isinstance(part, kind):
        raise ApiError(f"the answer has no {name}", status=httpx.codes.OK)
    return part
