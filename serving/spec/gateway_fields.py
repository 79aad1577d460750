"""The fields of `gateway` in a stack file. Rules that join several fields are in rules.py."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from core.frozen import Frozen
from core.rules import matching
from serving.spec.fields import ServedName

HostnameText = Annotated[
    str,
    matching(
        r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "is not a host name; write a full DNS name without scheme or port, e.g. llm.example.com",
    ),
]


class ProjectCa(Frozen):
    """The gateway's certificate comes from a CA of this checkout."""

    kind: Literal["project_ca"] = Field(default="project_ca", description="project_ca: made by this checkout.")
    days: int = Field(
        default=90,
        ge=2,
        le=398,
        description="How long a certificate is valid; renewed by `provision` in its last third.",
    )


class TlsFiles(Frozen):
    """The gateway's certificate comes from files of the user's."""

    kind: Literal["files"] = Field(description="files: the user's own.")
    certificate: Path = Field(description="PEM: the server's certificate, then the chain.")
    key: Path = Field(description="PEM: the private key, mode 0600.")
    ca: Path | None = Field(default=None, description="PEM: the CA that clients should trust; none: the system's.")


class GatewayFields(Frozen):
    """The fields of `gateway`, without the rules that join several of them: see GatewaySpec."""

    port: int = Field(default=443, ge=1, le=65535, description="HTTPS port that clients use.")
    hostnames: tuple[HostnameText, ...] = Field(
        default=(), description="DNS names in the certificate, beside the host's address."
    )
    tls: Annotated[ProjectCa | TlsFiles, Field(discriminator="kind")] = Field(
        default=ProjectCa(), description="Where the certificate comes from: a mapping with kind project_ca or files."
    )
    clients: tuple[ServedName, ...] = Field(
        default=("default",), min_length=1, description="One API key is made for each name."
    )
    max_concurrency: int = Field(
        default=16, ge=1, le=4096, description="Requests passed to the engine at the same time."
    )
    max_queue: int = Field(default=64, ge=0, le=65536, description="Requests that wait; the next one gets 429.")
    queue_timeout_s: int = Field(default=30, ge=1, le=600, description="How long a request waits; then it gets 429.")
    request_timeout_s: int = Field(
        default=600, ge=5, le=7200, description="How long an answer may pause between two bytes."
    )
    max_body_kib: int = Field(default=1024, ge=1, le=65536, description="Largest request body, in KiB.")
