"""What a test can change about the simulated AWS while it runs: stock, refusals, slowness, quotas, images."""

import json
from dataclasses import dataclass, field
from urllib.request import urlopen

from tests.doubles.aws.seed import QUOTAS
from tests.doubles.provider import control

PARAMETERS = "/double/parameters"
OPERATIONS = "/double/operations"


@dataclass
class Settings(control.Settings):
    """How the cloud behaves; the defaults have no faults."""

    shutting_down_polls: int = 1
    """How many reads still find a terminated instance shutting down."""

    unseen_polls: int = 1
    """How many reads do not find a new instance yet."""

    default_kms_key: str = "alias/aws/ebs"
    """The default key of EBS; moto has no answer."""

    ends_at_start: list[dict[str, str]] = field(default_factory=list)
    """Like `out_of_stock`: such an instance is accepted, and ended for lack of capacity while it starts."""

    regions: list[str] = field(default_factory=lambda: ["ap-northeast-2", "us-east-1"])
    """The regions that the account has enabled; moto has enabled them all, and a sweep over those takes 20 s."""

    quotas: dict[str, float] = field(default_factory=lambda: dict(QUOTAS))


class Control(control.Control[Settings]):
    """A test's control of a running cloud."""

    kind = Settings
    reset_path = "/moto-api/reset"

    def operations(self) -> list[str]:
        """Return what was asked since the last reset, as service and operation, by the plugin and by our own commands.

        Of our commands' calls to services that speak REST only the plugin's are known by name.
        """
        with urlopen(self.url + OPERATIONS, timeout=10) as answer:  # noqa: S310  # our own server on loopback
            return list(json.loads(answer.read()))

    def set_parameters(self, region: str, values: dict[str, str]) -> None:
        """Give public parameters a new value, as when a newer image is published."""
        self._send(PARAMETERS, {"region": region, "values": values})
