"""Classes of requests, and what the gateway does when too many wait."""

from typing import Self

from pydantic import Field, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import Problem, refuse
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
    """Another model or shorter answers while too many wait. The answer's header `X-Degraded` says which."""

    model: AskedName = Field(description="Name of the model, as clients write it.")
    to: AskedName | None = Field(
        default=None, description="Name of the model that answers meanwhile, of any pool. Header: `X-Degraded: model`."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="Longest answer meanwhile, in tokens. Header: `X-Degraded: length`.",
    )
    above_wait_s: int = Field(ge=1, le=600, description="Estimated wait above which this happens.")

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if self.to is None and self.max_tokens is None:
            refuse([Problem("", "names neither to nor max_tokens", "write one of them")])
        if self.to is not None and self.max_tokens is not None:
            refuse([Problem("to", "does not go with max_tokens", "leave one of them out")])
        if self.to == self.model:
            refuse([Problem("to", f"{self.to} is the model itself", "write another one")])
        return self
