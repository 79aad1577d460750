"""Classes of requests, and what the gateway does when too many wait."""

from pydantic import Field

from core.reading.frozen import Frozen
from serving.spec.gateway_clients import AskedName

LONGEST_ORDER_S = 523
"""HAProxy compares the times of two waiting requests in 20 bits of milliseconds: beyond 524 s the order turns round."""


class InteractiveClass(Frozen):
    """Requests that somebody waits for."""

    deadline_s: int | None = Field(
        default=None,
        ge=1,
        le=600,
        description="A request whose estimated wait is longer is refused at once. Default: queue_timeout_s.",
    )


class BatchClass(Frozen):
    """Requests that may wait behind interactive ones."""

    deadline_s: int | None = Field(
        default=None,
        ge=1,
        le=600,
        description="A request whose estimated wait is longer is refused at once. Default: aging_s.",
    )
    aging_s: int | None = Field(
        default=None,
        ge=0,
        le=523,
        description="After this wait a batch request goes before an interactive one that comes then. Default: three "
        "quarters of queue_timeout_s.",
    )


class ClassesSpec(Frozen):
    """The classes of requests."""

    interactive: InteractiveClass = Field(default=InteractiveClass(), description="What somebody waits for.")
    batch: BatchClass = Field(default=BatchClass(), description="What may wait.")


class Degrade(Frozen):
    """Shorter answers while too many wait. An answer that may be shorter has the header `X-Degraded: length`."""

    model: AskedName = Field(description="Name of the model, as clients write it.")
    max_tokens: int = Field(ge=1, le=1_048_576, description="Longest answer meanwhile, in tokens.")
    above_wait_s: int = Field(ge=1, le=600, description="Estimated wait above which answers are shorter.")
