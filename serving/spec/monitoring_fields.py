"""The fields of `gateway.monitoring` and `gateway.alerts` in a stack file, and the rules that join several of them."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import Problem, Sha256, looks_secret, matching, refuse, twice
from core.reading.secret import SecretRef

LOOPBACK_NAMES = ("localhost", "ip6-localhost")

MailAddress = Annotated[
    str,
    matching(
        r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
        "is not a mail address; write one like ops@example.com",
    ),
]


def is_private(name: str) -> bool:
    """Return whether `name` is an address or name of this host or of a private network."""
    if name in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(name).is_private
    except ValueError:
        return False


def webhook_url(text: str, *, may_be_secret: bool = False) -> str:
    """Return `text` if alerts may be sent to it. Raises ValueError if not, or if a stack file must not contain it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL; write one like https://example.com/alerts") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[\s\x00-\x1f]", text):
        raise ValueError("is not a URL; write one like https://example.com/alerts")
    if "@" in parts.netloc:
        raise ValueError("contains a login; write the URL without it, and webhook_token beside it")
    if not may_be_secret and looks_secret(text):
        raise ValueError("looks like a secret; write webhook_from with env: NAME or file: PATH below it")
    if parts.scheme == "http" and not is_private(parts.hostname):
        raise ValueError("sends alerts unencrypted to a public host; write https://, or a private address")
    return text


def _plain_url(text: str) -> str:
    """Return `text` if it is a webhook without a secret."""
    return webhook_url(text)


def _server(text: str) -> str:
    """Return `text` if it is a host with a port."""
    name, _, port = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]", name) or not port.isdecimal():
        raise ValueError("is not a mail server with its port; write one like smtp.example.com:587")
    if not 1 <= int(port) < 1 << 16:
        raise ValueError("has no such port; write one like smtp.example.com:587")
    return text


class EmailAlerts(Frozen):
    """Alerts by mail."""

    to: tuple[MailAddress, ...] = Field(min_length=1, description="Who gets the alerts.")
    sender: MailAddress | None = Field(default=None, description="Address that the mails come from. Required.")
    server: Annotated[str, AfterValidator(_server)] = Field(
        description="Mail server and port, e.g. smtp.example.com:587. STARTTLS is required, except on loopback."
    )
    user: str | None = Field(default=None, min_length=1, description="Login at the mail server.")
    password: SecretRef | None = Field(default=None, description="Where the password of `user` is stored.")

    @property
    def on_loopback(self) -> bool:
        """Whether the server is on the gateway's own host."""
        name = self.server.rpartition(":")[0].strip("[]")
        return name in (*LOOPBACK_NAMES, "::1") or name.startswith("127.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse((*twice(self.to, "to"), *self._problems()))
        return self

    def _problems(self) -> Iterator[Problem]:
        if self.sender is None:
            yield Problem("sender", "is missing", "write the address that the mails come from, e.g. llm@example.com")
        if self.user is not None and self.password is None:
            yield Problem("password", f"is missing for user {self.user}", "write env: NAME or file: PATH below it")
        if self.user is None and self.password is not None:
            yield Problem("user", "is missing beside password", "write the login, or leave password out")


class AlertsSpec(Frozen):
    """Where alerts go."""

    webhook: Annotated[str, AfterValidator(_plain_url)] | None = Field(
        default=None, description="URL that gets each alert as Alertmanager's JSON. http:// to private addresses only."
    )
    webhook_from: SecretRef | None = Field(
        default=None, description="Where the URL is stored if it is a secret itself, as those of chat services are."
    )
    webhook_token: SecretRef | None = Field(default=None, description="Where a bearer token for the webhook is stored.")
    email: EmailAlerts | None = Field(default=None, description="Alerts by mail.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        if self.webhook is None and self.webhook_from is None and self.email is None:
            yield Problem("", "names no receiver", "write webhook, webhook_from or email below it")
        if self.webhook is not None and self.webhook_from is not None:
            yield Problem("webhook_from", "is given beside webhook", "write one of them")
        if self.webhook_token is not None and self.webhook is None and self.webhook_from is None:
            yield Problem("webhook_token", "is given without a webhook", "write webhook, or leave it out")


def _package(text: str) -> str:
    """Return `text` if it is a URL or a path of a Debian package."""
    example = "https://example.com/grafana_12.0.0_amd64.deb, or a path on this computer"
    if "://" not in text:
        if not text.endswith(".deb"):
            raise ValueError(f"is not a Debian package; write one like {example}")
        return text
    if not text.startswith("https://"):
        raise ValueError(f"is not an https:// URL; write one like {example}")
    if not re.fullmatch(r"https://[\w.-]+(:\d{1,5})?(/[\w.@=+~%-]+)*/[\w.@=+~%-]+\.deb", text):
        raise ValueError(f"is not the URL of a Debian package without query and login; write one like {example}")
    return text


class GrafanaSpec(Frozen):
    """A Grafana on the gateway's host, from a package of the user's choice, on loopback only."""

    deb: Annotated[str, AfterValidator(_package)] = Field(
        description="https:// URL of Grafana's Debian package, or its path on this computer. Relative paths start at "
        "the checkout."
    )
    sha256: Sha256 = Field(description="SHA-256 of the package.")
    admin_password: SecretRef = Field(
        description="Where the password of Grafana's user `admin` is stored: env: NAME or file: PATH.",
    )

    @property
    def is_url(self) -> bool:
        """Whether the host fetches the package. If not, it gets a file of this computer."""
        return "://" in self.deb


class MonitoringSpec(Frozen):
    """Prometheus, Alertmanager and exporters on the gateway's host, on loopback only."""

    retention_days: int = Field(default=15, ge=1, le=365, description="Prometheus removes older data.")
    disk_gib: int = Field(default=2, ge=1, le=1024, description="Prometheus removes its oldest data beyond this size.")
    first_token_p95_s: float = Field(
        default=10,
        gt=0,
        le=600,
        description="The alert FirstTokenSlow fires if 5 %, batches aside, wait longer for the first token.",
    )
    error_share: float = Field(
        default=0.05, gt=0, lt=1, description="The alert ErrorShareHigh fires if more answers are errors of the server."
    )
    log_mib_per_hour: int = Field(
        default=200, ge=1, le=100_000, description="The alert LogVolumeHigh fires if the journal grows faster."
    )
    grafana: GrafanaSpec | None = Field(
        default=None, description="A Grafana with the dashboards of this repository. None: no Grafana."
    )
