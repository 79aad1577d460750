"""The section `gateway` of a stack file: what provisioning needs, and the machine that infra creates for it."""

from typing import Any

from pydantic import Field

from core.reading.frozen import Frozen
from serving.spec.models import GatewaySpec


class GatewayMachineSpec(Frozen):
    """A machine of its own for the gateway. It has no GPU and no engine."""

    type: str | None = Field(
        default=None,
        description="Machine type without a GPU (aws and gcp); always on demand. Default: t3.medium (aws), "
        "e2-standard-2 (gcp).",
    )
    memory_gib: float = Field(
        default=2.0,
        ge=1,
        le=4096,
        description="Memory of a local machine, in GiB; enforced. In a cloud, the type sets it.",
    )
    cpus: float = Field(
        default=1.0,
        ge=0.5,
        le=1024,
        description="Processors of a local machine; enforced. In a cloud, the type sets them.",
    )
    disk_gib: float = Field(
        default=20.0,
        ge=4,
        le=16384,
        description="Largest disk of a local machine, in GiB; enforced. It grows with the data and never shrinks.",
    )


class GatewayConfig(GatewaySpec):
    """HAProxy in front of the engine: TLS, keys, allow-list, queue. With `machine`, on a machine of its own."""

    machine: GatewayMachineSpec | None = Field(
        default=None,
        description="A machine of its own for the gateway, in front of all engines: a mapping, {} for the defaults. "
        "If missing, each engine's machine has a gateway.",
    )

    def exported(self) -> dict[str, Any]:
        """Return what provisioning gets: the keys of the file without the machine, which is among the hosts."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"machine"})
