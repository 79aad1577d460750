"""What a test can change about the simulated GCP while it runs: stock, refusals, slowness, quotas, APIs, login."""

from dataclasses import dataclass, field
from typing import Any

from tests.doubles.gcp.seed import QUOTAS
from tests.doubles.provider import control

RESET = "/double/reset"


@dataclass
class Settings(control.Settings):
    """How the cloud behaves; the defaults have no faults. Actions have names as in `instances.insert`."""

    ending_polls: int = 1
    """How many reads still find a deleted instance stopping."""

    failing: dict[str, int] = field(default_factory=dict)
    """Action of our own commands -> how many more of its operations fail after they were accepted."""

    quotas: dict[str, float] = field(default_factory=lambda: dict(QUOTAS))

    disabled: list[str] = field(default_factory=list)
    """APIs that are not enabled in the project."""

    denied: list[str] = field(default_factory=list)
    """Patterns of paths that the login may not read; each matches anywhere in a path."""

    zones_down: list[str] = field(default_factory=list)

    unlisted: list[str] = field(default_factory=list)
    """Zones that are missing in every list."""

    login: str = "good"
    """good or expired."""

    quota_project: str = ""
    """`wanted`: calls of some APIs must name one, as those of a personal login; `refused`: the login may use none."""

    agent_may_start: bool = True
    """Whether the service that runs schedules has its role."""

    org_policies: dict[str, dict[str, Any]] | None = field(default_factory=dict)
    """Constraint of the organisation -> its effective policy; None: the login may not ask."""

    currency: str = "USD"
    """The currency of the billing account."""

    policies: list[dict[str, Any]] = field(default_factory=list)
    """Firewall policies that hold for every network, in the form of the API."""

    newest: dict[str, str] = field(default_factory=dict)
    """Image family -> its newest image, if that has changed since the start."""


class Control(control.Control[Settings]):
    """A test's control of a running cloud."""

    kind = Settings
    reset_path = RESET
