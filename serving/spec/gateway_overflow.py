"""The section `gateway.overflow`: providers that answer what the stack has no place for, and what they may cost.

Prices and caps are in USD, caps by the days and months of UTC.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictBool, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import SECRET, Problem, matching, one_of, refuse, twice
from core.reading.secret import SecretRef
from serving.spec.fields import ServedName, ServingFields
from serving.spec.gateway_clients import ClientSpec

DECIMALS = 6
HTTPS_PORT = 443

ADDED = {
    "openai": ("/chat/completions", "/completions", "/embeddings"),
    "anthropic": ("/v1/messages", "/v1"),
}
"""What the SDK of a kind adds to the base URL, or a beginning of it, longest first."""

BASES = {"openai": "https://api.together.xyz/v1", "anthropic": "https://api.anthropic.com"}

_HOST = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

ProviderName = Annotated[
    str, matching(r"[a-z][a-z0-9-]{0,31}", "is not a provider's name; write lower-case letters, digits and -")
]


def _usd(value: float) -> float:
    """Return `value` if it has few enough decimals to be counted exactly."""
    exponent = Decimal(str(value)).normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS:
        raise ValueError(f"has more than {DECIMALS} decimals; write fewer")
    return value


def _url(text: str) -> str:
    """Return `text` if the service may send requests there."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL; write one like https://api.example.com/v1") from None
    if "@" in parts.netloc:
        raise ValueError("has a login in it; write the key under `key`")
    if parts.scheme != "https":
        raise ValueError("is not an https URL; write one like https://api.example.com/v1")
    if port not in (None, HTTPS_PORT):
        raise ValueError(f"has port {port}, but only {HTTPS_PORT} is open to providers; leave the port out")
    if not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError("has no DNS name as its host; write one like https://api.example.com/v1")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; write the part before it")
    return text.rstrip("/")


Usd = Annotated[float, AfterValidator(_usd)]


class OverflowModel(Frozen):
    """A model of the stack, and the one that answers in its place. Prices are in USD for a million tokens."""

    alias: ServedName = Field(description="A name that the stack serves: of the base model or of an adapter.")
    model: str = Field(min_length=1, max_length=200, description="What the provider calls the model that answers.")
    input_usd: Usd = Field(ge=0, le=100_000, description="Price of a million tokens of prompts.")
    output_usd: Usd = Field(ge=0, le=100_000, description="Price of a million tokens of answers.")
    embeddings: StrictBool = Field(default=False, description="The model computes embeddings, and nothing else.")


class OverflowProvider(Frozen):
    """A provider."""

    name: ProviderName = Field(description="Name in logs, in `make spend` and in the header X-Served-By.")
    kind: Literal["openai", "anthropic"] = Field(
        description="openai: any API of OpenAI's shape. anthropic: Anthropic's."
    )
    url: Annotated[str, AfterValidator(_url)] = Field(
        json_schema_extra=SECRET,  # some users write a login into it
        description=f"Base URL, e.g. {BASES['openai']} or {BASES['anthropic']}.",
    )
    key: SecretRef = Field(description="Where this machine keeps the provider's API key.")
    models: tuple[OverflowModel, ...] = Field(min_length=1, description="The models that it answers for.")
    day_usd: Usd = Field(gt=0, le=100_000, description="The most that it may cost in a day.")
    month_usd: Usd = Field(gt=0, le=1_000_000, description="The most that it may cost in a month.")
    requests_per_minute: int = Field(default=600, ge=1, le=1_000_000, description="The most requests in a minute.")
    tokens_per_minute: int = Field(
        default=1_000_000, ge=1, le=1_000_000_000, description="The most tokens in a minute, in and out."
    )
    timeout_s: int = Field(default=60, ge=1, le=3600, description="Longest pause between two bytes of its answer.")
    completions: StrictBool = Field(default=False, description="It has /v1/completions too.")
    token_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="The field that limits an answer there; OpenAI's own models want the second."
    )
    added_tokens: int = Field(
        default=2048,
        ge=0,
        le=1_000_000,
        description="The most tokens that it adds to a prompt: chat template, instructions for tools.",
    )
    ca: Path | None = Field(default=None, description="PEM file with the CA to trust. Default: those of the host.")

    @model_validator(mode="after")
    def _fits_together(self) -> "OverflowProvider":
        aliases = (each.alias for each in self.models)
        refuse((*twice(aliases, "models"), *_caps(self), *_has_the_api(self), *_is_a_base(self)))
        return self


class OverflowSpec(Frozen):
    """Providers for requests that find no place in time. Only public data goes there, and internal data if allowed."""

    providers: tuple[OverflowProvider, ...] = Field(min_length=1, description="Providers, in the order of trying.")
    day_usd: Usd = Field(gt=0, le=100_000, description="The most that all providers together may cost in a day.")
    month_usd: Usd = Field(gt=0, le=1_000_000, description="The most that all together may cost in a month.")
    internal: StrictBool = Field(default=False, description="Requests with internal data may go to providers too.")
    clients: tuple[ServedName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Clients whose requests may go to providers. Default: all whose `data` allows it.",
    )
    alert_percent: int = Field(default=80, ge=1, le=100, description="Alert above this share of a cap.")
    max_tokens: int = Field(
        default=1024, ge=1, le=1_000_000, description="Longest answer of a request that names no limit, in tokens."
    )
    max_requests: int = Field(default=64, ge=1, le=4096, description="Requests at providers at the same time.")

    @model_validator(mode="after")
    def _fits_together(self) -> "OverflowSpec":
        named = (each.name for each in self.providers)
        refuse(
            (*twice(named, "providers"), *twice(self.clients or (), "clients"), *_caps(self), *_can_be_reached(self))
        )
        return self

    @property
    def host_names(self) -> tuple[str, ...]:
        """The host names of the providers."""
        return tuple(dict.fromkeys(urlsplit(each.url).hostname or "" for each in self.providers))

    def allowed(self, clients: tuple[ClientSpec, ...]) -> tuple[str, ...]:
        """Return the names of the clients whose requests may leave."""
        classes = ("public", "internal") if self.internal else ("public",)
        named = [each.name for each in clients if each.data in classes]
        return tuple(name for name in named if self.clients is None or name in self.clients)


def _caps(section: OverflowProvider | OverflowSpec) -> Iterator[Problem]:
    """A day does not cost more than its month."""
    if section.day_usd > section.month_usd:
        yield Problem(
            "day_usd",
            f"{section.day_usd:g} is above month_usd {section.month_usd:g}",
            f"write {section.month_usd:g} or less",
        )


def _can_be_reached(overflow: OverflowSpec) -> Iterator[Problem]:
    """No provider may cost more than all together: the overall cap ends its requests first."""
    for index, each in enumerate(overflow.providers):
        for cap in ("day_usd", "month_usd"):
            own, overall = getattr(each, cap), getattr(overflow, cap)
            if own > overall:
                what = f"{own:g} is above overflow.{cap} {overall:g}, so it can never be reached"
                yield Problem(f"providers[{index}].{cap}", what, f"write {overall:g} or less, or raise overflow.{cap}")


def _is_a_base(provider: OverflowProvider) -> Iterator[Problem]:
    """The path does not end in what its SDK adds: every request would get 404."""
    for end in ADDED[provider.kind]:
        if provider.url.endswith(end):
            what = f"the URL ends in {end}, which each request adds"
            yield Problem("url", what, f"write it without {end}, like {BASES[provider.kind]}")
            return


def _has_the_api(provider: OverflowProvider) -> Iterator[Problem]:
    """Anthropic has chats alone."""
    if provider.kind != "anthropic":
        return
    if provider.completions:
        yield Problem("completions", "Anthropic has no /v1/completions", "leave it out")
    for index, each in enumerate(provider.models):
        if each.embeddings:
            yield Problem(f"models[{index}].embeddings", "Anthropic has no embeddings", "leave it out")


def overflow_fits_gateway(
    overflow: OverflowSpec | None, clients: tuple[ClientSpec, ...], request_timeout_s: int
) -> Iterator[Problem]:
    """The clients exist and may send data out, and all providers fail before the gateway gives up."""
    if overflow is None:
        return
    known = {each.name: each.data for each in clients}
    for index, name in enumerate(overflow.clients or ()):
        key = f"overflow.clients[{index}]"
        if name not in known:
            yield Problem(key, f"{name} is not in gateway.clients", one_of(known, name))
        elif known[name] == "sensitive":
            yield Problem(
                key, f"the data of {name} is sensitive", "leave it out, or write data: public for this client"
            )
        elif known[name] == "internal" and not overflow.internal:
            yield Problem(key, f"the data of {name} is internal", "leave it out, or write internal: true for overflow")
    if overflow.clients is None and not overflow.allowed(clients):
        hint = "write data: public for a client, or leave overflow out"
        yield Problem("overflow", "no client's data may leave the stack", hint)
    total_s = sum(each.timeout_s for each in overflow.providers)
    if total_s > request_timeout_s:
        yield Problem(
            "overflow.providers",
            f"their timeout_s add up to {total_s}, but request_timeout_s is {request_timeout_s}",
            "write less for them, or more for request_timeout_s",
        )


def overflow_fits_models(
    overflow: OverflowSpec | None, servings: Sequence[ServingFields], *, all_names: bool = False
) -> Iterator[Problem]:
    """Providers answer for names that the stack serves. Keys begin with `gateway`.

    A manifest may add adapters to a stack file without any: `all_names` says that `servings` have them.
    """
    if not all_names and any(serving.engine == "vllm" and not serving.adapters for serving in servings):
        return
    names = [name for serving in servings for name in serving.served_names]
    served = {*names, *(name.removesuffix(":latest") for name in names)}
    for index, provider in enumerate(overflow.providers if overflow else ()):
        for place, each in enumerate(provider.models):
            if each.alias not in served:
                key = f"gateway.overflow.providers[{index}].models[{place}].alias"
                yield Problem(key, f"the stack does not serve {each.alias}", one_of(names, each.alias))
