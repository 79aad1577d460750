"""The fields of `gateway` in a stack file. Rules that join several fields are in rules.py."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from core.reading.frozen import Frozen
from core.reading.rules import matching
from serving.spec.gateway_classes import LONGEST_ORDER_S, ClassesSpec, Degrade
from serving.spec.gateway_clients import ClientEntry, ClientSpec
from serving.spec.gateway_origins import Origin
from serving.spec.gateway_overflow import OverflowSpec
from serving.spec.monitoring_fields import AlertsSpec, GrafanaSpec, MonitoringSpec

HostnameText = Annotated[
    str,
    matching(
        r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "is not a host name; write a full DNS name without scheme or port, e.g. llm.example.com",
    ),
]


class ProjectCa(Frozen):
    """The gateway's certificate comes from this checkout's CA."""

    kind: Literal["project_ca"] = Field(default="project_ca", description="project_ca: issued by this checkout.")
    days: int = Field(
        default=90,
        ge=2,
        le=398,
        description="Validity of a certificate. `provision` renews it in the last third.",
    )


class TlsFiles(Frozen):
    """The gateway's certificate comes from the user's files."""

    kind: Literal["files"] = Field(description="files: your own.")
    certificate: Path = Field(description="PEM file with the server's certificate, then the chain.")
    key: Path = Field(description="PEM file with the private key, mode 0600.")
    ca: Path | None = Field(
        default=None, description="PEM file with the CA that clients should trust. Default: those of their system."
    )


class GatewayFields(Frozen):
    """The fields of `gateway`, without the rules that join several of them: see GatewaySpec."""

    port: int = Field(default=443, ge=1, le=65535, description="HTTPS port that clients use.")
    hostnames: tuple[HostnameText, ...] = Field(
        default=(), description="DNS names in the certificate. It also has the host's address."
    )
    tls: Annotated[ProjectCa | TlsFiles, Field(discriminator="kind")] = Field(
        default=ProjectCa(), description="Where the certificate comes from: a mapping with kind project_ca or files."
    )
    monitoring: MonitoringSpec | None = Field(
        default=None, description="Metrics, alerts and dashboards on the gateway's host; `{}` for the defaults."
    )
    alerts: AlertsSpec | None = Field(default=None, description="Where alerts go. None: only Prometheus shows them.")
    clients: tuple[ClientEntry, ...] = Field(
        default=(ClientSpec(name="default"),),
        min_length=1,
        description="Clients, each by its name or as a mapping. Each gets an API key.",
    )
    max_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Requests that each engine gets at the same time. None: as many as it computes at the same time, "
        "`vllm.max_sequences` or `ollama.num_parallel`. More is refused: they would wait in the engine, in its order.",
    )
    max_queue: int = Field(
        default=64, ge=0, le=65536, description="Requests that may wait. The next one gets status 429."
    )
    queue_timeout_s: int = Field(
        default=30, ge=1, le=600, description="Longest wait of a request. It then gets status 429."
    )
    request_timeout_s: int = Field(
        default=600, ge=5, le=7200, description="Longest pause between two bytes of an answer."
    )
    max_body_kib: int = Field(default=1024, ge=1, le=65536, description="Largest request body, in KiB.")
    classes: ClassesSpec = Field(default=ClassesSpec(), description="Classes of requests: interactive and batch.")
    no_engine_wait_s: int = Field(
        default=0,
        ge=0,
        le=600,
        description="How long a request waits while no engine is ready, e.g. in its start. It then gets status 503.",
    )
    degrade: tuple[Degrade, ...] = Field(
        default=(), max_length=64, description="What answers while too many requests wait."
    )
    cors_origins: tuple[Origin, ...] = Field(
        default=(),
        max_length=256,
        description="Origins whose pages may send requests from a browser, e.g. https://app.example.com.",
    )
    overflow: OverflowSpec | None = Field(
        default=None, description="Providers for requests that find no place in time. None: they get 429 or 503."
    )

    @property
    def client_names(self) -> tuple[str, ...]:
        """The names of the clients, in the order of the file."""
        return tuple(client.name for client in self.clients)

    @property
    def aging_s(self) -> int:
        """Seconds after which a batch request goes before interactive ones that come then."""
        given = self.classes.batch.aging_s
        if given is not None:
            return given
        return max(0, min(self.queue_timeout_s * 3 // 4, LONGEST_ORDER_S - self.queue_timeout_s))

    @property
    def deadlines_s(self) -> dict[str, int]:
        """The longest estimated wait of each class."""
        interactive, batch = self.classes.interactive.deadline_s, self.classes.batch.deadline_s
        return {
            "interactive": self.queue_timeout_s if interactive is None else interactive,
            "batch": max(1, min(self.queue_timeout_s, self.aging_s)) if batch is None else batch,
        }

    @property
    def shares(self) -> dict[str, float]:
        """The share of each client; those without one share the rest equally."""
        given = {client.name: client.share for client in self.clients}
        open_ = [name for name, share in given.items() if share is None]
        rest = max(0.0, 1 - sum(share for share in given.values() if share is not None))
        return {name: rest / len(open_) if share is None else share for name, share in given.items()}

    @property
    def grafana(self) -> GrafanaSpec | None:
        """The Grafana beside the monitoring, if there is one."""
        return self.monitoring.grafana if self.monitoring is not None else None

    @property
    def longest_queue(self) -> int:
        """Requests that wait at most: a client below its share may wait behind a queue that others have filled."""
        return self.max_queue * (2 if len(self.clients) > 1 else 1)
