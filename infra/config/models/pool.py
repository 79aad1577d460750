"""A pool beside the one that `machine` and `serving` of a stack file describe."""

from pydantic import Field

from core.reading.frozen import Frozen
from infra.config.models.machine import MachineSpec
from serving.spec.models import ServingSpec


class PoolSpec(Frozen):
    """Machines that serve another base model, behind the same gateway."""

    machine: MachineSpec = Field(default=MachineSpec(), description="The machines of this pool, as `machine`.")
    serving: ServingSpec = Field(description="What they serve, as `serving`.")
