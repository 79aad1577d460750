"""A client of OpenAI's API that measures: for the smoke test and benchmarks, not for applications.

Goes straight to the endpoint, past any proxy in the environment, and never repeats the API key.
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
from core.strict_json import parse_json

CONNECT_S = 10
ANSWER_S = 300
"""How long the endpoint may be silent: a CPU host that just started takes its time over the first answer."""

DONE = "[DONE]"
SHOWN_CHARS = 200

Part = TypeVar("Part")


class ApiError(CheckError):
    """The endpoint answered with an error, or not in the shape of OpenAI's API."""

    def __init__(self, what: str, *, status: int, code: str | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said."""

    text: str
    tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StreamedAnswer(Answer):
    """What a model said piece by piece."""

    first_token_s: float
    pieces: int

    @property
    def tokens_per_s(self) -> float:
        """Speed after the first token; 0 when the answer came in one piece and nothing can be told."""
        rest_s = self.seconds - self.first_token_s
        return (self.tokens - 1) / rest_s if self.pieces > 1 and rest_s > 0 else 0.0


class Client:
    """A connection pool to one URL with one key. Usable from several threads."""

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
        """Return the answer, whatever its status. Raises CheckError when none comes."""
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the object that a POST is answered with. Raises ApiError for an error, in the endpoint's words."""
        return _json(self.ask("POST", path, body))

    def models(self) -> list[str]:
        """Return the names of the models, in the endpoint's order."""
        listed = _json(self.ask("GET", "/v1/models"))
        return [str(model["id"]) for model in _part(listed, "data", list)]

    def chat(self, model: str, prompt: str, *, max_tokens: int) -> Answer:
        """Return the whole answer of `model` to one message, without chance (temperature 0)."""
        return self._whole("/v1/chat/completions", _chat(model, prompt, max_tokens))

    def complete(self, model: str, prompt: str, *, max_tokens: int) -> Answer:
        """Return how `model` goes on from `prompt`, without chance."""
        return self._whole("/v1/completions", _completion(model, prompt, max_tokens))

    def stream_chat(self, model: str, prompt: str, *, max_tokens: int) -> StreamedAnswer:
        """Return what `chat` returns, streamed and timed. Raises ApiError for a stream that is cut off."""
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
        """Yield the events of a stream as they come."""
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
    """Return what checks the server's certificate: against `ca`, or the system's CAs.

    Raises ConfigError when there is no CA in the file.
    """
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as error:  # ssl.SSLError is one too
        raise ConfigError(f"holds no CA ({error.strerror})", where=str(ca), hint="run `provision` again") from error


def error_code(response: httpx.Response) -> str | None:
    """Return the code of an error in OpenAI's shape; none when it has another shape."""
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
    """Return the object that an answer holds. Raises ApiError for an error, in the endpoint's words."""
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
    if "error" in value:  # engines tell of a failure in the middle of a stream like this
        raise ApiError(f"an error in the answer: {str(value['error'])[:SHOWN_CHARS]}", status=status)
    return value


def _part(answer: dict[str, Any], name: str, kind: type[Part]) -> Part:
    """Return `answer[name]`. Raises ApiError when it is missing or of another kind."""
    part = answer.get(name)
    if not isinstance(part, kind):
        raise ApiError(f"the answer has no {name}", status=httpx.codes.OK)
    return part
