"""The service's settings, as the gateway role writes them to its JSON file. Holds no secret.

The controller builds the same values, so this module needs the standard library alone.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["openai", "anthropic"]


@dataclass(frozen=True)
class Cap:
    """The most that may be spent in a UTC day and a UTC month, in nano-USD."""

    day: int
    month: int


@dataclass(frozen=True)
class Model:
    """What a provider calls a model that the stack serves, and its prices in nano-USD for a million tokens."""

    model: str
    price_in: int
    price_out: int
    embeddings: bool = False
    """The model computes embeddings, and nothing else."""


@dataclass(frozen=True)
class Provider:
    """One provider. `key` is the name of the credential that holds its API key."""

    name: str
    kind: Kind
    url: str
    key: str
    models: dict[str, Model]
    cap: Cap
    requests_per_minute: int
    tokens_per_minute: int
    timeout_s: int
    completions: bool = False
    """It answers /v1/completions."""
    token_limit_field: str = "max_tokens"  # noqa: S105 (a field of a request)
    """The field of a chat request that limits the answer."""
    added_tokens: int = 2048
    """An upper bound of the prompt tokens that the provider adds: chat template, instructions for tools."""
    ca: str = ""
    """A PEM file with the CA of its certificate; empty: the system's."""


@dataclass(frozen=True)
class Settings:
    """All settings."""

    providers: tuple[Provider, ...]
    cap: Cap
    clients: tuple[str, ...]
    """The clients whose requests may leave."""
    internal: bool
    """Requests of class `internal` may leave too."""
    default_max_tokens: int
    """The answer's limit if neither the request nor the gateway names one."""
    max_body_bytes: int
    max_requests: int
    """Requests that run at the same time."""
    alert_percent: int = 80
    address: str = "127.0.0.1"
    port: int = 8411
    metrics_port: int = 8412
    ledger: str = "/var/lib/llm/overflow/ledger.sqlite3"

    def to_json(self) -> str:
        """Return the settings as the text of their file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_settings(text: str) -> Settings:
    """Return the settings in `text`. Raises KeyError, TypeError or ValueError if it is not what `to_json` wrote."""
    fields: dict[str, Any] = json.loads(text)
    fields["providers"] = tuple(_provider(each) for each in fields["providers"])
    fields["cap"] = Cap(**fields["cap"])
    fields["clients"] = tuple(fields["clients"])
    return Settings(**fields)


def _provider(fields: dict[str, Any]) -> Provider:
    models = {alias: Model(**model) for alias, model in fields["models"].items()}
    return Provider(**{**fields, "models": models, "cap": Cap(**fields["cap"])})
