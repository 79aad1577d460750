"""Engine, base model, adapters and gateway, as checked values.

The stack file, the outputs and the roles use the same values, which know no host and no cloud. The fields are in
fields.py and gateway_fields.py, the rules in rules.py.
"""

from typing import Self

from pydantic import model_validator

from core.reading.rules import refuse, twice
from serving.spec.fields import ServingFields
from serving.spec.gateway_fields import GatewayFields
from serving.spec.rules import GATEWAY_RULES, SERVING_RULES


class ServingSpec(ServingFields):
    """Engine, base model and adapters."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(problem for rule in SERVING_RULES for problem in rule(self))
        return self


class GatewaySpec(GatewayFields):
    """HAProxy in front of the engine: TLS, keys, allow-list, queue."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(
            (
                *twice(self.client_names, "clients"),
                *twice(self.hostnames, "hostnames"),
                *twice(self.cors_origins, "cors_origins"),
                *(problem for rule in GATEWAY_RULES for problem in rule(self)),
            )
        )
        return self
