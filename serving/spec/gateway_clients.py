"""The clients of a gateway: who may send requests, how many, and how large."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from core.reading.frozen import Frozen
from core.reading.rules import matching
from serving.spec.fields import ServedName

AskedName = Annotated[
    str,
    matching(r"[a-z0-9][a-z0-9._:@-]{0,79}", "is not the name of a model; write it as clients do, e.g. contract@3"),
]
"""A model as clients write it."""

ServiceClass = Literal["interactive", "batch"]


class ClientCaps(Frozen):
    """The largest request of a client. A larger one gets status 400."""

    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="Longest answer, in tokens: `max_tokens` and its other names. vLLM also ends an answer there whose "
        "request names no length.",
    )
    n: int | None = Field(default=None, ge=1, le=1024, description="Most answers to one request: `n` and `best_of`.")
    prompt_kib: int | None = Field(default=None, ge=1, le=65536, description="Longest prompt, in KiB of text.")


class ClientSpec(Frozen):
    """A client of the gateway. It has an API key of its own. Its name alone means a client with these defaults."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: ServedName = Field(description="Name of the client, in logs and beside its key.")
    data: Literal["sensitive", "internal", "public"] = Field(
        default="sensitive",
        description="Class of its data. Sensitive data never leaves the stack. X-Data-Class can only narrow it.",
    )
    service_class: ServiceClass = Field(
        default="interactive",
        alias="class",
        description="interactive, or batch: requests that wait behind interactive ones. A request may ask for batch "
        "with the header X-Priority.",
    )
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Its share of the places and the queue while others wait too. Default: an equal part of what the "
        "others leave.",
    )
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000, description="Most requests a minute.")
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Most tokens a minute: a quarter of the prompt's bytes, and the longest answer that the request "
        "allows.",
    )
    max_concurrency: int | None = Field(
        default=None, ge=1, le=65536, description="Most requests at the same time, running and waiting."
    )
    caps: ClientCaps = Field(default=ClientCaps(), description="Its largest request.")
    model_caps: dict[ServedName, ClientCaps] = Field(
        default={},
        description="Its largest request to single models or adapters, by their names without a version. Caps that "
        "are missing are as in `caps`.",
    )
    models: tuple[AskedName, ...] = Field(
        default=(), description="Names of models that it may use, as clients write them. If empty, all."
    )

    def __str__(self) -> str:
        return self.name

    @property
    def caps_by_key(self) -> dict[str, ClientCaps]:
        """Its caps as they are written, by their keys in the file."""
        return {"caps": self.caps, **{f"model_caps.{name}": caps for name, caps in self.model_caps.items()}}

    def caps_of(self, asked: str) -> ClientCaps:
        """Return the caps that hold for a name as clients write it. Versions of an adapter have those of its name."""
        own = self.model_caps.get(without_version(asked), ClientCaps())
        return self.caps.model_copy(update=own.model_dump(exclude_none=True))


def without_version(asked: str) -> str:
    """Return the name of the model or adapter that a client's `contract@3` means, or `contract:3` with Ollama."""
    return re.split("[@:]", asked, maxsplit=1)[0]


def _entry(value: Any) -> Any:
    """Return an entry of the list as a mapping: `alice` means `{name: alice}`."""
    return {"name": value} if isinstance(value, str) else value


ClientEntry = Annotated[ClientSpec, BeforeValidator(_entry)]
