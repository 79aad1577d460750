"""A pool beside the one that `machine` and `serving` of a stack file describe."""

from pydantic import Field

from core.reading.frozen import Frozen
from infra.config.models.machine import MachineSpec
from serving.spec.models import ServingSpec
from serving.spec.pool_name import MAIN

SERVING_EXAMPLE = "model: {name: tiny, source: {kind: tiny, name: llama}} below it, and see stacks/README.md"
"""What a user without the key may write."""


def machine_key(pool: str) -> str:
    """Return the key of a pool's machines in a stack file."""
    return "machine" if pool == MAIN else f"pools.{pool}.machine"


class PoolSpec(Frozen):
    """Machines that serve another base model, behind the same gateway."""

    machine: MachineSpec = Field(default=MachineSpec(), description="The machines of this pool, as `machine`.")
    serving: ServingSpec = Field(description="What they serve, as `serving`.", examples=[SERVING_EXAMPLE])
