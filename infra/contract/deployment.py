"""What every cloud's `deploy(config)` returns. Holds values only; the program exports them, provisioning reads them."""

from dataclasses import dataclass
from typing import Any

import pulumi


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The hosts that a cloud made or found.

    `hosts` resolves to a list of dicts in the shape of infra.contract.outputs.HostRecord, checked when the outputs
    are read:
    a resource's values are known only while the Pulumi engine runs, and in a preview not at all.
    """

    hosts: pulumi.Output[list[dict[str, Any]]]

    gateway_host: str | None = None
    """Name of the host that has the gateway and no engine. None: each host has both."""

    placement: pulumi.Output[dict[str, Any]] | None = None
    """Where the stack was put (infra/contract/stack_placement.py). None: its cloud rents no machines."""
