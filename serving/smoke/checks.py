"""The checks of the smoke test. Each is a function that returns its result in words, or raises CheckError.

No check depends on another, so that one failure hides no other. run.py runs them and writes the result.
"""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from core.errors import CheckError
from serving.endpoint import Endpoint
from serving.timed_client import ApiError, Client, error_code, tls_context

PROMPTS = (
    "Write one sentence about a contract.",
    "List three colours.",
    "1, 2, 3, 4,",
)
"""Fixed, so that answers can be compared. An adapter must answer one of them differently from its base model."""

ANSWER_TOKENS = 16
SPEED_TOKENS = 64
UNKNOWN_MODEL = "no-such-model"
WRONG_KEY = SecretStr("sk-wrong-key-of-the-smoke-test")
FORBIDDEN = (
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("POST", "/invocations"),
    ("POST", "/pause"),
    ("POST", "/tokenize"),
    ("GET", "/v1/llm-deploy/adapters"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("GET", "/api/ps"),
    ("POST", "/api/show"),
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
)
"""Paths of vLLM or Ollama that change models or show other clients' work. Some work without a key."""

NATIVE = (("GET", "/api/tags"), ("POST", "/api/chat"), ("POST", "/api/generate"))
"""The part of Ollama's own API that the config can allow."""

CONNECT_S = 10
PORT_TRY_S = 1.5
"""Silence after which the engine's port counts as closed: a firewall does not answer."""
LEAST_LEFT = timedelta(hours=12)
"""How long a certificate must stay valid. provision renews in the last third of at least two days."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One URL of an endpoint, with a client that has the right key."""

    endpoint: Endpoint
    url: str
    client: Client

    @property
    def host(self) -> str:
        """Name or address in the URL."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port in the URL."""
        return urlsplit(self.url).port or 443

    def with_key(self, key: SecretStr | None) -> Client:
        """Return a client with another key, or none."""
        return Client(self.url, key=key, ca=self.endpoint.ca)


Check = Callable[[], str]


def checks(target: Target) -> Iterator[tuple[str, Check]]:
    """Yield name and function of each check. They are in an order in which the first failure explains most."""
    yield "certificate_valid", lambda: certificate_valid(target.host, target.port, target.endpoint.ca)
    yield "models_listed", lambda: models_listed(target)
    for name in target.endpoint.models:
        yield f"answers[{name}]", lambda name=name: answers(target, name)  # type: ignore[misc]
        yield f"streams[{name}]", lambda name=name: streams(target, name)  # type: ignore[misc]
    for name in target.endpoint.adapters:
        yield f"differs[{name}]", lambda name=name: differs(target, name)  # type: ignore[misc]
    for name, model in _by_pool("log_probabilities", target.endpoint):
        yield name, lambda model=model: log_probabilities(target, model)  # type: ignore[misc]
    yield "wrong_key_401", lambda: refused(target.with_key(WRONG_KEY), "GET", "/v1/models", 401)
    yield "no_key_401", lambda: refused(target.with_key(None), "GET", "/v1/models", 401)
    yield "unknown_model_404", lambda: unknown_model(target)
    in_ollama = target.endpoint.ollama_model
    if in_ollama is not None:
        yield "native_api", lambda: native_api(target, in_ollama)
    yield "forbidden_path_404", lambda: forbidden_paths(target)
    yield "engine_port_closed", lambda: ports_closed(target.host, target.endpoint.engine_ports)
    for name, model in _by_pool("speed", target.endpoint):
        yield name, lambda model=model: speed(target, model)  # type: ignore[misc]


def _by_pool(name: str, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """Yield the name of a check for the base model of each pool: `name` alone if there is one pool."""
    for model in endpoint.base_models:
        yield f"{name}[{model}]" if len(endpoint.base_models) > 1 else name, model


def certificate_valid(host: str, port: int, ca: Path | None) -> str:
    """The certificate has the host's name or address, is signed by the CA, and stays valid long enough."""
    context = tls_context(ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        with (
            socket.create_connection((host, port), timeout=CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            found = connection.getpeercert() or {}
            version = connection.version()
    except ssl.SSLCertVerificationError as error:
        raise CheckError(f"not valid for {host}: {error.verify_message}") from error
    except OSError as error:
        raise CheckError(f"no TLS: {error}") from error
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    left = until - datetime.now(UTC)
    if left < LEAST_LEFT:
        raise CheckError(f"ends at {until:%Y-%m-%d %H:%M} UTC; provision renews it")
    return f"{version}, valid for {host} until {until:%Y-%m-%d} ({left.days} days)"


def models_listed(target: Target) -> str:
    """/v1/models lists the served names and no others. Ollama also lists previous models unless it prunes them.

    For several pools the gateway itself makes the list.
    """
    listed, wanted = target.client.models(), target.endpoint.models
    missing = [name for name in wanted if name not in listed]
    strange = [name for name in listed if name not in wanted]
    of_ollama = target.endpoint.engine == "ollama" and len(target.endpoint.base_models) == 1
    if missing or (strange and not of_ollama):
        raise CheckError(f"missing: {', '.join(missing) or 'none'}; not in the spec: {', '.join(strange) or 'none'}")
    return ", ".join(listed)


def answers(target: Target, model: str) -> str:
    """The model answers a message."""
    answer = target.client.chat(model, PROMPTS[0], max_tokens=ANSWER_TOKENS)
    if not answer.text or not answer.tokens:
        raise CheckError("the answer is empty")
    return f"{answer.tokens} tokens in {answer.seconds:.2f} s"


def streams(target: Target, model: str) -> str:
    """The model answers piece by piece."""
    answer = target.client.stream_chat(model, PROMPTS[0], max_tokens=ANSWER_TOKENS)
    if answer.pieces < 2:  # noqa: PLR2004  # one piece is not a stream
        raise CheckError(f"the answer came in {answer.pieces} pieces")
    return f"{answer.pieces} pieces, the first after {answer.first_token_s:.3f} s"


def log_probabilities(target: Target, model: str) -> str:
    """The base model returns log probabilities. An engine that cannot compute them ends at the first such request."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPTS[0]}],
        "max_tokens": 2,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 1,
    }
    found = target.client.answer("/v1/chat/completions", body)["choices"]
    tokens = ((found[0].get("logprobs") or {}).get("content") or []) if found else []
    if not tokens or not all(isinstance(token.get("logprob"), int | float) for token in tokens):
        raise CheckError("the answer has no log probabilities")
    return f"{len(tokens)} tokens"


def differs(target: Target, adapter: str) -> str:
    """The adapter gives other answers than the base model, so it is loaded and has an effect."""
    model = target.endpoint.base_of(adapter)
    for prompt in PROMPTS:
        base, other = (target.client.complete(name, prompt, max_tokens=ANSWER_TOKENS).text for name in (model, adapter))
        if base != other:
            return f"differs from {model} on {prompt!r}"
    raise CheckError(f"gives the same answers as {model} to {len(PROMPTS)} prompts")


def unknown_model(target: Target) -> str:
    """A model that is not served gets status 404, not the answer of another model."""
    try:
        target.client.chat(UNKNOWN_MODEL, PROMPTS[0], max_tokens=1)
    except ApiError as error:
        if error.status == 404:  # noqa: PLR2004
            return "HTTP 404"
        raise
    raise CheckError(f"{UNKNOWN_MODEL} answered")


def refused(client: Client, method: str, path: str, status: int) -> str:
    """The request gets `status`, with an error in OpenAI's form."""
    with client:
        response = client.ask(method, path)
    code = error_code(response)
    if response.status_code != status or code is None:
        raise CheckError(f"{method} {path}: HTTP {response.status_code} {code or 'without an error code'}")
    return f"HTTP {status} {code}"


def forbidden_paths(target: Target) -> str:
    """Internal paths of the engine get status 404, also with a key."""
    open_paths = []
    for method, path in FORBIDDEN:
        status = target.client.ask(method, path).status_code
        if status != 404:  # noqa: PLR2004
            open_paths.append(f"{method} {path}: HTTP {status}")
    if open_paths:
        raise CheckError("; ".join(open_paths))
    return f"{len(FORBIDDEN)} paths"


def native_api(target: Target, model: str) -> str:
    """Ollama's own API answers requests with a key if the config allows it, and no others."""
    asked = {"model": model, "stream": False, "options": {"num_predict": 2}}
    questions: dict[str, dict[str, Any]] = {
        "/api/chat": {"messages": [{"role": "user", "content": PROMPTS[0]}]},
        "/api/generate": {"prompt": PROMPTS[0]},
    }
    wanted = (200, 401) if target.endpoint.native_api else (404, 404)
    for method, path in NATIVE:
        body = {**asked, **questions[path]} if path in questions else None
        with target.with_key(None) as stranger:
            seen = (target.client.ask(method, path, body).status_code, stranger.ask(method, path, body).status_code)
        if seen != wanted:
            raise CheckError(f"{method} {path}: HTTP {seen[0]} with the key, {seen[1]} without; expected {wanted}")
    return f"{len(NATIVE)} paths, with the key only" if target.endpoint.native_api else "not allowed"


def ports_closed(host: str, ports: Sequence[int]) -> str:
    """The engines' own ports do not answer from here."""
    return "; ".join(_port_closed(host, port) for port in ports)


def _port_closed(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=PORT_TRY_S):
            pass
    except TimeoutError:
        return f"{host}:{port} does not answer"
    except OSError as error:
        return f"{host}:{port}: {error.strerror}"
    raise CheckError(f"{host}:{port} accepts connections: clients can bypass the gateway")


def speed(target: Target, model: str) -> str:
    """Time to the first token and tokens per second of a base model, for one request at a time."""
    answer = target.client.stream_chat(model, PROMPTS[0], max_tokens=SPEED_TOKENS)
    if not answer.tokens_per_s:
        raise CheckError(f"{answer.tokens} tokens are too few to measure")
    return f"first_token_s={answer.first_token_s:.3f} tokens_per_s={answer.tokens_per_s:.1f} tokens={answer.tokens}"
