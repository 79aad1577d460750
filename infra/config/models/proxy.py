"""The proxy through which hosts reach the internet, as in a stack file or an inventory."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import SECRET, Problem, matching, refuse
from core.reading.secret import SecretRef


def _proxy_url(text: str) -> str:
    """Return `text` if it is the URL of a proxy. Raises ValueError if it is not, or if it has a login in it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a proxy URL; write one like http://proxy.example.com:3128") from None
    if "@" in parts.netloc:
        raise ValueError("contains a login; write the URL without it, and login: {env: NAME} beside it")
    if parts.scheme not in ("http", "https"):
        raise ValueError("is not an HTTP proxy; write one like http://proxy.example.com:3128")
    if not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("is not a proxy URL; write scheme, host and port, e.g. http://proxy.example.com:3128")
    return text.rstrip("/")


ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]

DirectName = Annotated[
    str,
    matching(
        r"\.?[A-Za-z0-9:]([A-Za-z0-9.:_-]*[A-Za-z0-9:])?",
        "is not a host; write a name, a domain like .corp.example.com, or an IP address (not all programs know ranges)",
    ),
]


class ProxySpec(Frozen):
    """The proxy that apt, pip, uv and the fetch of models use on each host."""

    http: ProxyUrl | None = Field(
        default=None, json_schema_extra=SECRET, description="Proxy for http://, e.g. http://proxy.example.com:3128."
    )
    https: ProxyUrl | None = Field(
        default=None, json_schema_extra=SECRET, description="Proxy for https://. Default: the same as `http`."
    )
    no_proxy: tuple[DirectName, ...] = Field(
        default=(),
        description="Hosts and domains that are reached without the proxy. Loopback and metadata servers always are.",
    )
    login: SecretRef | None = Field(default=None, description="Where `user:password` for the proxy is stored.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.http is None and self.https is None:
            refuse([Problem("", "names no proxy", "write http, https or both")])
        return self
